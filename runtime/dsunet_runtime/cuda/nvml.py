"""State of a GPU by NVML, without a CUDA context.

NVML is part of the driver, except on Jetson.  Each function returns None for what it cannot report.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from dsunet_runtime.cuda.contract import Gpu

_T = TypeVar("_T")

_THROTTLING = {
    0x4: "power limit",
    0x8: "hardware slowdown",
    0x20: "thermal slowdown by software",
    0x40: "thermal slowdown by hardware",
    0x80: "external power brake",
}
"""Bits of NVML's clock event reasons, without idle clocks and clocks set by users."""


@dataclass(frozen=True, slots=True)
class GpuState:
    """Current state of a GPU."""

    clock_mhz: int
    """Clock of the streaming multiprocessors."""
    power_w: float
    temperature_c: int
    throttled: tuple[str, ...]
    """Reasons for throttling, if there is any."""


def driver_version() -> str | None:
    """The driver's version, for example `580.95.05`; None if unknown."""
    return query(lambda nvml: str(nvml.nvmlSystemGetDriverVersion()))


def gpu_names() -> tuple[str, ...] | None:
    """Names of all GPUs in the order of NVML; None if unknown."""

    def read(nvml: Any) -> tuple[str, ...]:
        handles = map(nvml.nvmlDeviceGetHandleByIndex, range(nvml.nvmlDeviceGetCount()))
        return tuple(str(nvml.nvmlDeviceGetName(handle)) for handle in handles)

    return query(read)


def free_memory(gpu: Gpu) -> int | None:
    """Free memory of a GPU in bytes; None if unknown."""
    return query(lambda nvml: int(nvml.nvmlDeviceGetMemoryInfo(_handle(nvml, gpu)).free))


def state(gpu: Gpu) -> GpuState | None:
    """Clock, power, temperature and throttling; None if any of them is unknown."""

    def read(nvml: Any) -> GpuState:
        handle = _handle(nvml, gpu)
        reasons = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
        return GpuState(
            nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
            nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
            nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
            tuple(text for bit, text in _THROTTLING.items() if reasons & bit),
        )

    return query(read)


def query(read: Callable[[Any], _T]) -> _T | None:
    """Return what `read` reads with `pynvml`; None if that or NVML is missing, or refuses."""
    try:
        import pynvml
    except ModuleNotFoundError:
        return None
    try:
        pynvml.nvmlInit()  # the first call loads the library, later ones are counted
        return read(pynvml)
    except pynvml.NVMLError:
        return None


def _handle(nvml: Any, gpu: Gpu) -> Any:
    return nvml.nvmlDeviceGetHandleByPciBusId(gpu.pci_bus_id)
