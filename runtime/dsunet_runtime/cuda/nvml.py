"""State of a GPU by NVML, without a CUDA context and without a Python binding."""

from __future__ import annotations

import ctypes
import functools
import sys
from dataclasses import dataclass

from dsunet_runtime.cuda.contract import Gpu

_TEXT_LENGTH = 96

# Constants of nvml.h.
_CLOCK_SM, _TEMPERATURE_GPU = 1, 0
_THROTTLING = {
    0x4: "power limit",
    0x8: "hardware slowdown",
    0x20: "thermal slowdown by software",
    0x40: "thermal slowdown by hardware",
    0x80: "external power brake",
}
"""Bits of NVML's clock event reasons, without idle clocks and clocks set by users."""


class _MemoryInfo(ctypes.Structure):
    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


@dataclass(frozen=True, slots=True)
class State:
    """Current state of a GPU."""

    clock_mhz: int
    """Clock of the streaming multiprocessors."""
    power_w: float
    temperature_c: int
    throttled: tuple[str, ...]
    """Reasons for throttling, if there is any."""


def driver_version() -> str | None:
    """The driver's version, for example `580.95.05`; None if it is unknown."""
    library = _library()
    text = ctypes.create_string_buffer(_TEXT_LENGTH)
    if library is None or library.nvmlSystemGetDriverVersion(text, _TEXT_LENGTH):
        return None
    return text.value.decode()


def free_memory(gpu: Gpu) -> int | None:
    """Free memory of a GPU in bytes; None if it is unknown."""
    library, info = _library(), _MemoryInfo()
    handle = _handle(library, gpu)
    if library is None or handle is None:
        return None
    if library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(info)):
        return None
    return int(info.free)


def state(gpu: Gpu) -> State | None:
    """Read clock, power, temperature and throttling; None if any of them is unknown."""
    library = _library()
    handle = _handle(library, gpu)
    if library is None or handle is None:
        return None
    clock, milliwatts, temperature = ctypes.c_uint(), ctypes.c_uint(), ctypes.c_uint()
    reasons = ctypes.c_ulonglong()
    refused = (
        library.nvmlDeviceGetClockInfo(handle, _CLOCK_SM, ctypes.byref(clock)),
        library.nvmlDeviceGetPowerUsage(handle, ctypes.byref(milliwatts)),
        library.nvmlDeviceGetTemperature(handle, _TEMPERATURE_GPU, ctypes.byref(temperature)),
        library.nvmlDeviceGetCurrentClocksThrottleReasons(handle, ctypes.byref(reasons)),
    )
    if any(refused):
        return None
    throttled = tuple(text for bit, text in _THROTTLING.items() if reasons.value & bit)
    return State(clock.value, milliwatts.value / 1000, temperature.value, throttled)


def _handle(library: ctypes.CDLL | None, gpu: Gpu) -> ctypes.c_void_p | None:
    handle = ctypes.c_void_p()
    bus_id = gpu.pci_bus_id.encode()
    if library is None or library.nvmlDeviceGetHandleByPciBusId_v2(bus_id, ctypes.byref(handle)):
        return None
    return handle


@functools.cache
def _library() -> ctypes.CDLL | None:
    """Load and initialise NVML once per process; None where it is missing (Jetson)."""
    try:
        library = ctypes.CDLL("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
    except OSError:
        return None
    return None if library.nvmlInit_v2() else library
