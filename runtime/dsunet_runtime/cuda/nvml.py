"""What NVIDIA's management library says of a GPU: without a context, and without any binding."""

from __future__ import annotations

import ctypes
import functools
import sys
from dataclasses import dataclass

from dsunet_runtime.cuda.contract import Gpu

_TEXT_LENGTH = 96

# Numbers of nvml.h.
_CLOCK_SM, _TEMPERATURE_GPU = 1, 0
_THROTTLING = {
    0x4: "its power limit",
    0x8: "the hardware slowed it down",
    0x20: "its temperature",
    0x40: "its temperature, in hardware",
    0x80: "the power supply's brake",
}
"""Bits of the reasons that NVML gives; idle clocks and clocks that somebody has set are none."""


class _MemoryInfo(ctypes.Structure):
    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


@dataclass(frozen=True, slots=True)
class State:
    """What a GPU does right now."""

    clock_mhz: int
    """Of its processors."""
    power_w: float
    temperature_c: int
    throttled: tuple[str, ...]
    """Why it is slower than it can be, if it is."""


def driver_version() -> str | None:
    """The driver's version, for example `580.95.05`; None if the library cannot tell."""
    library = _library()
    text = ctypes.create_string_buffer(_TEXT_LENGTH)
    if library is None or library.nvmlSystemGetDriverVersion(text, _TEXT_LENGTH):
        return None
    return text.value.decode()


def free_memory(gpu: Gpu) -> int | None:
    """Bytes of a GPU's memory that nobody has taken; None if the library cannot tell."""
    library, info = _library(), _MemoryInfo()
    handle = _handle(library, gpu)
    if library is None or handle is None:
        return None
    if library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(info)):
        return None
    return int(info.free)


def state(gpu: Gpu) -> State | None:
    """Clock, power and temperature now; None if the library cannot tell all of them."""
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
    """Loaded and started, for the life of the process; None where there is none (Jetson)."""
    try:
        library = ctypes.CDLL("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
    except OSError:
        return None
    return None if library.nvmlInit_v2() else library
