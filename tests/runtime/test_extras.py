"""Optional packages: commands that install them, from a clone and from elsewhere; lazy names."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dsunet_runtime import BackendError, MissingExtraError, extras
from dsunet_runtime.backends.onnxruntime.backend import import_onnxruntime
from dsunet_runtime.backends.openvino import import_openvino
from dsunet_runtime.extras import install_command, needs_extra
from dsunet_runtime.lazy import lazy_attributes

ROOT = Path(__file__).parents[2]


class _Installed:
    """Of a distribution; `text` is what pip recorded about where it came from."""

    def __init__(self, text: str | None) -> None:
        self._text = text

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return self._text


def installed(monkeypatch: pytest.MonkeyPatch, folder: Path, origin: Any) -> None:
    """As if the package lay in site-packages, by a command that pip describes."""
    monkeypatch.setattr(extras, "__file__", str(folder / "lib/site-packages/dsunet_runtime/e.py"))
    text = None if origin is None else json.dumps(origin)
    monkeypatch.setattr(metadata, "distribution", lambda name: _Installed(text))


def _no_distribution(name: str) -> None:
    raise metadata.PackageNotFoundError(name)


def test_from_a_clone() -> None:
    """Of this project itself; the command holds in any folder."""
    assert install_command("train") == f"pip install -e '{ROOT}[train]'"
    assert install_command("rtx,cuda") == f"pip install -e '{ROOT}[rtx,cuda]'"


def test_from_a_clone_with_an_odd_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clone = tmp_path / "it's a clone"
    clone.mkdir()
    (clone / "pyproject.toml").touch()
    monkeypatch.setattr(extras, "__file__", str(clone / "runtime/dsunet_runtime/extras.py"))
    assert shlex.split(install_command("cpu")) == ["pip", "install", "-e", f"{clone}[cpu]"]


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (None, "dsunet[cpu]"),
        ({"url": "file:///src/dsunet", "dir_info": {}}, "dsunet[cpu] @ file:///src/dsunet"),
        (
            {"url": "file:///tmp/dsunet-0.1.0-py3-none-any.whl", "archive_info": {}},
            "dsunet[cpu] @ file:///tmp/dsunet-0.1.0-py3-none-any.whl",
        ),
        (
            {"url": "https://git.example/dsunet", "vcs_info": {"vcs": "git", "commit_id": "12ab"}},
            "dsunet[cpu] @ git+https://git.example/dsunet@12ab",
        ),
    ],
)
def test_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: Any, expected: str
) -> None:
    installed(monkeypatch, tmp_path, origin)
    assert install_command("cpu") == f"pip install '{expected}'"


def test_copied_without_its_metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, tmp_path, None)
    monkeypatch.setattr(metadata, "distribution", _no_distribution)
    assert install_command("cpu") == "pip install 'dsunet[cpu]'"


@pytest.mark.parametrize(
    ("module", "distribution"),
    [("absent_package.part", "absent_package"), ("sklearn", "scikit-learn"), ("PIL", "pillow")],
)
def test_an_import_that_finds_no_package(
    module: str, distribution: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module.partition(".")[0], None)
    match = rf"^{distribution} is not installed: pip install .*\[cpu\]"
    with pytest.raises(MissingExtraError, match=match), needs_extra("cpu"):
        importlib.import_module(module)


def test_a_package_that_does_not_fit_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unfit.py").write_text("raise ImportError('needs NumPy 2.0,\\nfound 1.26')")
    monkeypatch.syspath_prepend(tmp_path)
    match = (
        r"^a package of the extra cpu is installed but does not load \(needs NumPy 2\.0,.*"
        r"found 1\.26\): install it again with `pip install .*\[cpu\].* --force-reinstall`$"
    )
    with pytest.raises(MissingExtraError, match=match), needs_extra("cpu"):
        importlib.import_module("unfit")


@pytest.mark.parametrize(
    ("package", "title", "load", "command"),
    [
        ("openvino", "OpenVINO", import_openvino, install_command("openvino")),
        ("onnxruntime", "ONNX Runtime", import_onnxruntime, install_command("cpu")),
    ],
)
class TestLibraryOfABackend:
    @pytest.mark.parametrize(
        "fault",
        [
            "raise ImportError('libx.so.1: cannot open')",
            "raise OSError('libx.so.1: cannot open')",
            "import libx_that_it_needs",
        ],
    )
    def test_does_not_load(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        package: str,
        title: str,
        load: Callable[[], Any],
        command: str,
        fault: str,
    ) -> None:
        monkeypatch.setattr(metadata, "distribution", _no_distribution)
        monkeypatch.delitem(sys.modules, package, raising=False)
        (tmp_path / f"{package}.py").write_text(fault)
        monkeypatch.syspath_prepend(tmp_path)
        match = (
            rf"^{title} is installed but does not load \(.*libx.*\): install it again with "
            rf"`{re.escape(command)} --force-reinstall`$"
        )
        with pytest.raises(BackendError, match=match):
            load()

    def test_is_not_installed(
        self,
        monkeypatch: pytest.MonkeyPatch,
        package: str,
        title: str,
        load: Callable[[], Any],
        command: str,
    ) -> None:
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(BackendError, match=f"^{title} is not installed: {re.escape(command)}"):
            load()


def test_gpu_build_that_does_not_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed again is the build that was there: the other would overwrite its files."""
    monkeypatch.setattr(metadata, "distribution", lambda name: _Installed(None))
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    (tmp_path / "onnxruntime.py").write_text("raise OSError('libcudart.so: cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BackendError, match=r"\[gpu\].* --force-reinstall`$"):
        import_onnxruntime()


def test_a_name_that_this_distribution_lacks_is_not_a_missing_package() -> None:
    with pytest.raises(ImportError, match="nonsense"), needs_extra("cpu"):
        from dsunet_runtime import nonsense  # type: ignore[attr-defined] # noqa: F401


@pytest.mark.parametrize("package", ["dsunet", "dsunet_export", "dsunet_runtime"])
def test_a_misspelt_import_of_this_distribution_is_not_a_missing_package(package: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=f"{package}.nonsense"), needs_extra("cpu"):
        importlib.import_module(f"{package}.nonsense")


def test_names_that_load_at_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("lazy")
    monkeypatch.setitem(sys.modules, "lazy", package)
    modules = {"sqrt": "math", "other": "absent_package"}
    load = lazy_attributes("lazy", modules, "cpu")
    assert load("sqrt")(4) == 2
    assert package.sqrt is load("sqrt")
    with pytest.raises(MissingExtraError, match="absent_package is not installed"):
        load("other")
    with pytest.raises(AttributeError, match="module 'lazy' has no attribute 'nonsense'"):
        load("nonsense")
