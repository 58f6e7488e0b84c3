"""Find the installed packages that this distribution can use, and test whether they load."""

from __future__ import annotations

import contextlib
import enum
import importlib
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.extras import install_command
from dsunet_runtime.message_text import printable

_LONGEST_REASON = 300


class PackageState(enum.StrEnum):
    """State of a package on this machine."""

    LOADS = "loads"
    INSTALLED = "installed"
    """Installed, but not imported, because that takes seconds."""
    OLD = "too old"
    BROKEN = "broken"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Package:
    """A package that this distribution can use, installed or not."""

    title: str
    distribution: str
    """Name for pip."""
    extra: str
    """Extra of this distribution that installs it."""
    state: PackageState
    version: str | None = None
    reason: str | None = None
    """Fault of the package, in one line; None if there is none."""

    @property
    def works(self) -> bool:
        """Whether it works, as far as it was tested."""
        return self.state in (PackageState.LOADS, PackageState.INSTALLED)

    @property
    def remedy(self) -> str:
        """Command that installs or repairs it."""
        if self.state is not PackageState.BROKEN:
            return install_command(self.extra)
        pin = "" if self.version is None else f"=={self.version}"
        return f"pip install --force-reinstall {self.distribution}{pin}"


@dataclass(frozen=True, slots=True)
class _KnownPackage:
    title: str
    distribution: str
    extra: str
    module: str
    quick: bool = True
    """Whether it is imported in a fraction of a second."""


_KNOWN = (
    *(_KnownPackage(f.title, f.distribution, f.extra, f.module) for f in Flavor),
    _KnownPackage("cuda-python", "cuda-python", "cuda", "cuda.bindings.driver"),
    _KnownPackage("PyCUDA", "pycuda", "pycuda", "pycuda", quick=False),
    _KnownPackage("OpenVINO", "openvino", "openvino", "openvino"),
    _KnownPackage(
        "RTX plugin",
        "onnxruntime-ep-nv-tensorrt-rtx",
        "rtx-provider",
        "onnxruntime_ep_nv_tensorrt_rtx",
        quick=False,
    ),
    _KnownPackage("PyTorch", "torch", "torch", "torch", quick=False),
    _KnownPackage("torchvision", "torchvision", "torch", "torchvision", quick=False),
    _KnownPackage("timm", "timm", "torch", "timm", quick=False),
    _KnownPackage("sam2", "sam2", "torch", "sam2", quick=False),
    _KnownPackage("PyWavelets", "PyWavelets", "torch", "pywt"),
    _KnownPackage("safetensors", "safetensors", "torch", "safetensors"),
    _KnownPackage("pysodmetrics", "pysodmetrics", "evaluate", "py_sod_metrics", quick=False),
    _KnownPackage("Lightning Fabric", "lightning-fabric", "train", "lightning_fabric", quick=False),
    _KnownPackage("Matplotlib", "matplotlib", "train", "matplotlib", quick=False),
    _KnownPackage("scikit-learn", "scikit-learn", "train", "sklearn", quick=False),
    _KnownPackage("onnx", "onnx", "export", "onnx"),
    _KnownPackage("onnx-ir", "onnx-ir", "export", "onnx_ir", quick=False),
    _KnownPackage("onnxscript", "onnxscript", "export", "onnxscript", quick=False),
)
_ONNXRUNTIME = {
    name: _KnownPackage("ONNX Runtime", name, extra, "onnxruntime")
    for name, extra in (("onnxruntime", "cpu"), ("onnxruntime-gpu", "gpu"))
}
"""Two distributions of one package; each overwrites the files of the other."""


def find_packages() -> dict[str, Package]:
    """Return all packages by distribution; ONNX Runtime is always `onnxruntime`."""
    oldest = dict(_oldest_versions())
    runtime = _ONNXRUNTIME[("onnxruntime", *onnxruntimes())[-1]]
    packages = {"onnxruntime": _examine(runtime, oldest)}
    return packages | {known.distribution: _examine(known, oldest) for known in _KNOWN}


def onnxruntimes() -> tuple[str, ...]:
    """Return the installed distributions of ONNX Runtime; two conflict with each other."""
    return tuple(name for name in _ONNXRUNTIME if installed_version(name) is not None)


def installed_version(distribution: str) -> str | None:
    """Return the version that pip has installed; None if it has not."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def one_line(error: object) -> str:
    """Format an error in one line, with `~` for the user's home folder."""
    text = str(error).strip() or type(error).__name__
    with contextlib.suppress(RuntimeError):  # in a container a user may have no home folder
        home = str(Path.home())
        if len(home) > 1:
            text = text.replace(home, "~")
    return printable(text, _LONGEST_REASON)


def _examine(known: _KnownPackage, oldest: dict[str, str]) -> Package:
    version = installed_version(known.distribution)

    def package(state: PackageState, reason: str | None = None) -> Package:
        return Package(known.title, known.distribution, known.extra, state, version, reason)

    try:
        if known.quick:
            module = importlib.import_module(known.module)
            version = version or getattr(module, "__version__", None)
        elif importlib.util.find_spec(known.module) is None:
            raise ModuleNotFoundError(f"No module named {known.module!r}", name=known.module)
    except Exception as error:  # a broken package may raise anything
        absent = isinstance(error, ModuleNotFoundError) and _is_part(error.name, known.module)
        if absent and version is None:
            return package(PackageState.MISSING)
        return package(PackageState.BROKEN, one_line(error))
    needed = oldest.get(_normalised_name(known.distribution), "0")
    if version is not None and _version_numbers(version) < _version_numbers(needed):
        return package(PackageState.OLD, f"{needed} or later is needed")
    return package(PackageState.LOADS if known.quick else PackageState.INSTALLED)


def _is_part(name: str | None, module: str) -> bool:
    """Return whether a name is that of a module or of a package that contains it."""
    return name is not None and f"{module}.".startswith(f"{name}.")


def _oldest_versions() -> Iterator[tuple[str, str]]:
    """Yield the lower bounds of this distribution's dependencies, by normalised name."""
    try:
        requirements = metadata.requires("dsunet") or []
    except metadata.PackageNotFoundError:
        return
    for requirement in requirements:
        match = re.match(r"([\w.-]+?)\s*>=\s*([\d.]+)", requirement)
        if match is not None:
            yield _normalised_name(match[1]), match[2]


def _normalised_name(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _version_numbers(version: str) -> tuple[int, ...]:
    """Parse `2.14.1+cu130` as (2, 14, 1)."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(number) for number in match[0].split(".")) if match else ()
