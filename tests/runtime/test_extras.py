"""Commands that install optional packages, from a clone and from elsewhere."""

from __future__ import annotations

import json
import shlex
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dsunet_runtime import extras
from dsunet_runtime.extras import install_command, lazy_names, needs_extra

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
    def nothing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    installed(monkeypatch, tmp_path, None)
    monkeypatch.setattr(metadata, "distribution", nothing)
    assert install_command("cpu") == "pip install 'dsunet[cpu]'"


def test_an_import_that_finds_no_package() -> None:
    with (
        pytest.raises(KeyError, match=r"absent_package is not installed: pip install .*\[cpu\]"),
        needs_extra("cpu", KeyError),
    ):
        import absent_package.part  # type: ignore[import-not-found]  # noqa: F401


def test_names_that_load_at_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("lazy")
    monkeypatch.setitem(sys.modules, "lazy", package)
    modules = {"sqrt": "math", "other": "absent_package"}
    load = lazy_names("lazy", modules, "cpu", KeyError)
    assert load("sqrt")(4) == 2
    assert package.sqrt is load("sqrt")
    with pytest.raises(KeyError, match="absent_package is not installed"):
        load("other")
    with pytest.raises(AttributeError, match="module 'lazy' has no attribute 'nonsense'"):
        load("nonsense")
