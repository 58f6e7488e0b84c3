"""Optional packages, and the commands that install them as extras of this distribution."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Iterator
from pathlib import Path

from dsunet_runtime.errors import MissingExtraError
from dsunet_runtime.message_text import reason

_OURS = ("dsunet", "dsunet_export", "dsunet_runtime")
_DISTRIBUTIONS = {
    "PIL": "pillow",
    "cuda": "cuda-python",
    "lightning_fabric": "lightning-fabric",
    "onnx_ir": "onnx-ir",
    "onnxruntime_ep_nv_tensorrt_rtx": "onnxruntime-ep-nv-tensorrt-rtx",
    "py_sod_metrics": "pysodmetrics",
    "pynvml": "nvidia-ml-py",
    "pywt": "PyWavelets",
    "sklearn": "scikit-learn",
    "tensorrt_rtx": "tensorrt-rtx",
}
"""Distributions (names for pip) by the package that they install, where the two differ."""


def install_command(extras: str) -> str:
    """Return the command that installs extras, from where this distribution was installed.

    It works in any folder.

    Args:
        extras: Names as in pyproject.toml, such as `cpu` or `rtx,cuda`.
    """
    clone = Path(__file__).resolve().parents[2]
    if (clone / "pyproject.toml").is_file():
        return f"pip install -e {shlex.quote(f'{clone}[{extras}]')}"
    return f"pip install {shlex.quote(f'dsunet[{extras}]{_origin()}')}"


@contextlib.contextmanager
def needs_extra(extras: str) -> Iterator[None]:
    """Convert the error of an import to MissingExtraError, with the remedy.

    A missing module of this distribution, or a missing name in one, is a bug, and is not converted.
    """
    try:
        yield
    except ImportError as error:
        if str(error.name).partition(".")[0] in _OURS:
            raise
        if isinstance(error, ModuleNotFoundError):
            message = f"{missing_package(error)} is not installed: {install_command(extras)}"
        else:
            what = f"a package of the extra {extras}"
            message = does_not_load(what, error, install_command(extras))
        raise MissingExtraError(message) from error


def is_absent(package: str, error: ImportError | OSError) -> bool:
    """Return whether an import failed because there is no such package.

    Otherwise the package is installed, and does not load: see `does_not_load`.
    """
    return isinstance(error, ModuleNotFoundError) and error.name == package


def does_not_load(what: str, error: ImportError | OSError, command: str) -> str:
    """Return the message on what is installed, but does not fit other packages or this machine.

    `command` is the one that installs it.
    """
    return (
        f"{what} is installed but does not load ({reason(error)}): install it again with "
        f"`{command} --force-reinstall`"
    )


def missing_package(error: ModuleNotFoundError) -> str:
    """Return the distribution of the package that an import did not find."""
    package = str(error.name).partition(".")[0]
    return _DISTRIBUTIONS.get(package, package)


def _origin() -> str:
    """Return ` @ ` and the URL from which the distribution was installed (PEP 610), or nothing."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        text = distribution("dsunet").read_text("direct_url.json")
    except PackageNotFoundError:
        return ""
    if text is None:
        return ""
    source = json.loads(text)
    if "vcs_info" not in source:
        return f" @ {source['url']}"
    return f" @ {source['vcs_info']['vcs']}+{source['url']}@{source['vcs_info']['commit_id']}"
