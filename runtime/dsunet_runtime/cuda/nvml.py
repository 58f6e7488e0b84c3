"""What NVIDIA's management library says of a GPU: without a context, and without any binding."""

from __future__ import annotations

import ctypes
import functools
import sys

from dsunet_runtime.cuda.contract import Gpu

_TEXT_LENGTH = 96


class _MemoryInfo(ctypes.Structure):
    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


def driver_version() -> str | None:
    """The driver's version, for example `580.95.05`; None if the library cannot tell."""
    library = _library()
    text = ctypes.create_string_buffer(_TEXT_LENGTH)
    if library is None or library.nvmlSystemGetDriverVersion(text, _TEXT_LENGTH):
        return None
    return text.value.decode()


def free_memory(gpu: Gpu) -> int | None:
    """Bytes of a GPU's memory that nobody has taken; None if the library cannot tell."""
    library = _library()
    if library is None:
        return None
    handle, info = ctypes.c_void_p(), _MemoryInfo()
    bus_id = gpu.pci_bus_id.encode()
    if library.nvmlDeviceGetHandleByPciBusId_v2(bus_id, ctypes.byref(handle)):
        return None
    if library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(info)):
        return None
    return int(info.free)


@functools.cache
def _library() -> ctypes.CDLL | None:
    """Loaded and started, for the life of the process; None where there is none (Jetson)."""
    try:
        library = ctypes.CDLL("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
    except OSError:
        return None
    return None if library.nvmlInit_v2() else library
