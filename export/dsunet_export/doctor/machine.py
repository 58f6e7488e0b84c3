"""Collect facts about this machine.  Nothing here raises: what does not work is reported."""

from __future__ import annotations

import contextlib
import importlib.util
import platform
import re
import warnings
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from dsunet_export.doctor.packages import (
    Package,
    find_packages,
    installed_version,
    one_line,
    onnxruntimes,
)
from dsunet_export.tensorrt.flavors import import_flavor, rtx_compute_capabilities
from dsunet_runtime import processor
from dsunet_runtime.artifact.flavor import Flavor, this_platform
from dsunet_runtime.backends import selection
from dsunet_runtime.cuda import Gpu, find, nvml
from dsunet_runtime.errors import BackendError
from dsunet_runtime.provider import Provider

_SILENT = 4
_OPENVINO_GAINS = {
    "amx": "AMX: use bf16 and int8 artifacts in OpenVINO",
    "avx512_bf16": "AVX512_BF16 without AMX: try bf16 artifacts in OpenVINO",
}
"""Advice by the beginning of the names of instructions, the fastest first."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """The processor."""

    name: str
    fast_instructions: tuple[str, ...]
    """See `dsunet_runtime.processor`."""

    @property
    def openvino_gain(self) -> str:
        """Advice on the artifacts that OpenVINO computes much faster on this machine."""
        for start, words in _OPENVINO_GAINS.items():
            if any(found.startswith(start) for found in self.fast_instructions):
                return words
        return "neither AMX nor AVX512_BF16: bf16 artifacts gain nothing in OpenVINO"


@dataclass(frozen=True, slots=True)
class NvidiaDriver:
    """NVIDIA's driver."""

    version: str | None
    """For example `580.95.05`; None without the management library NVML (Jetson)."""
    cuda: str | None
    """Newest CUDA version that it supports, for example `13.0`; None if unknown."""
    problem: str | None
    """Why CUDA cannot be used from Python; None if it can."""

    @property
    def is_installed(self) -> bool:
        return self.version is not None or self.cuda is not None


@dataclass(frozen=True, slots=True)
class LocalGpu:
    """A GPU of this machine."""

    gpu: Gpu
    free_memory: int | None
    """Bytes; None if the driver does not report it."""

    @property
    def title(self) -> str:
        return f"{self.gpu.name} ({self.gpu.compute_capability})"


@dataclass(frozen=True, slots=True)
class InstalledProvider:
    """A provider whose library is installed."""

    starts: bool | None
    """None if it was not tried, because there is no driver."""
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class InstalledTensorRT:
    """Properties of an installed flavor of TensorRT."""

    cuda: int | None
    """CUDA version that it was built for, for example 13; None if not installed with pip."""
    compute_capabilities: tuple[str, ...] | None
    """Supported targets, ascending; None for classic TensorRT, which builds for the local GPU."""


@dataclass(frozen=True, slots=True)
class InstalledTorch:
    """CUDA support of the installed PyTorch."""

    cuda: str | None
    """CUDA version that it was built with; None for a build without CUDA."""
    sees_gpu: bool | None
    """None if not tested: without a driver, the seconds of the import are saved."""
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """All facts on which tasks depend."""

    python: str
    platform: str
    cpu: Cpu
    driver: NvidiaDriver
    gpus: tuple[LocalGpu, ...]
    """In CUDA's order; empty if CUDA does not start."""
    packages: dict[str, Package]
    onnxruntimes: tuple[str, ...]
    """Installed distributions of ONNX Runtime."""
    providers: dict[Provider, InstalledProvider]
    tensorrt: dict[Flavor, InstalledTensorRT]
    """The flavors that load."""
    torch: InstalledTorch | None
    """None if it is not installed."""


def inspect_machine() -> Machine:
    """Collect the facts about this machine."""
    driver, gpus = _find_gpus()
    # Before PyTorch and TensorRT are loaded: ONNX Runtime would find the libraries that they load,
    # but not in a process without them.
    providers = _find_providers(driver)
    packages = find_packages()
    flavors = [flavor for flavor in Flavor if packages[flavor.distribution].works]
    return Machine(
        python=platform.python_version(),
        platform=this_platform(),
        cpu=Cpu(processor.name(), processor.fast_instructions()),
        driver=driver,
        gpus=gpus,
        packages=packages,
        onnxruntimes=onnxruntimes(),
        providers=providers,
        tensorrt={flavor: _probe_tensorrt(flavor) for flavor in flavors},
        torch=_probe_torch(driver) if packages["torch"].works else None,
    )


def _find_gpus() -> tuple[NvidiaDriver, tuple[LocalGpu, ...]]:
    version = nvml.driver_version()
    try:
        cuda = find()
        gpus = tuple(LocalGpu(gpu, nvml.free_memory(gpu)) for gpu in cuda.gpus())
        return NvidiaDriver(version, cuda.version(), None), gpus
    except Exception as error:  # a binding that does not load may raise anything
        return NvidiaDriver(version, None, one_line(error)), ()


def _find_providers(driver: NvidiaDriver) -> dict[Provider, InstalledProvider]:
    with contextlib.suppress(Exception):  # `find_packages` reports it
        import onnxruntime

        onnxruntime.set_default_logger_severity(_SILENT)
    try:
        installed = selection.installed_providers()
    except Exception:  # `find_packages` reports it
        return {}
    return {provider: _try(provider, driver) for provider in installed}


def _try(provider: Provider, driver: NvidiaDriver) -> InstalledProvider:
    if provider.on_gpu and not driver.is_installed:
        return InstalledProvider(starts=None)
    try:
        selection.check_provider(provider)
    except BackendError as error:
        return InstalledProvider(starts=False, problem=one_line(error))
    return InstalledProvider(starts=True)


def _probe_tensorrt(flavor: Flavor) -> InstalledTensorRT:
    trt = import_flavor(flavor)
    known = rtx_compute_capabilities(trt) if flavor is Flavor.RTX else None
    return InstalledTensorRT(_cuda_of(flavor.distribution), known)


def _cuda_of(package: str) -> int | None:
    """Return 13 for a distribution that depends on another one named NAME_cu13."""
    if installed_version(package) is None:
        return None
    match = re.search(r"[-_]cu(\d+)", " ".join(metadata.requires(package) or []))
    return int(match[1]) if match else None


def _probe_torch(driver: NvidiaDriver) -> InstalledTorch:
    if not driver.is_installed:
        return InstalledTorch(_torch_cuda(), sees_gpu=None)
    try:
        import torch

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            sees = torch.cuda.is_available()
        problem = one_line(caught[0].message) if caught and not sees else None
        return InstalledTorch(torch.version.cuda, sees, problem)
    except Exception as error:  # a broken package may raise anything
        return InstalledTorch(_torch_cuda(), sees_gpu=False, problem=one_line(error))


def _torch_cuda() -> str | None:
    """Read the CUDA version of PyTorch from its version.py, without importing it."""
    spec = importlib.util.find_spec("torch")
    for folder in (spec and spec.submodule_search_locations) or ():
        file = Path(folder, "version.py")
        if file.is_file():
            match = re.search(r"^cuda\b.*= '([\d.]+)'", file.read_text(), flags=re.MULTILINE)
            return match[1] if match else None
    return None
