"""How much of a GPU's memory is this process's: what others do on the GPU does not show in it."""

from __future__ import annotations

import ctypes
import os

import pytest

from dsunet_runtime.cuda import Gpu, nvml

BLOCK = 2 << 20
"""Bytes: the driver takes and gives back device memory in blocks of this size."""

_MOST_PROCESSES = 256
_NOT_AVAILABLE = 2**64 - 1


class _Process(ctypes.Structure):
    """nvmlProcessInfo_t."""

    _fields_ = (
        ("pid", ctypes.c_uint),
        ("used", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    )


def process_memory(gpu: Gpu) -> int:
    """Bytes of device memory.  Skips the test where the driver does not tell."""
    library = nvml._library()
    handle, count = ctypes.c_void_p(), ctypes.c_uint(_MOST_PROCESSES)
    processes = (_Process * _MOST_PROCESSES)()
    if (
        library is None
        or library.nvmlDeviceGetHandleByPciBusId_v2(gpu.pci_bus_id.encode(), ctypes.byref(handle))
        or library.nvmlDeviceGetComputeRunningProcesses_v3(handle, ctypes.byref(count), processes)
    ):
        pytest.skip("the driver does not tell how much memory each process has")
    found = list(processes[: count.value])
    # In a container a process may have another number; then it is known only if it is alone.
    own = [p for p in found if p.pid == os.getpid()] or (found if len(found) == 1 else [])
    if not own or own[0].used == _NOT_AVAILABLE:
        pytest.skip("the driver does not tell how much memory this process has")
    return int(own[0].used)
