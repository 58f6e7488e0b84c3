"""How much of a GPU's memory is this process's: what others do on the GPU does not show in it."""

from __future__ import annotations

import os

import pytest

from dsunet_runtime.cuda import Gpu, nvml

BLOCK = 2 << 20
"""Bytes: the driver takes and gives back device memory in blocks of this size."""


def process_memory(gpu: Gpu) -> int:
    """Bytes of device memory.  Skips the test where the driver does not tell."""
    found = nvml.query(
        lambda library: library.nvmlDeviceGetComputeRunningProcesses(
            library.nvmlDeviceGetHandleByPciBusId(gpu.pci_bus_id)
        )
    )
    if found is None:
        pytest.skip("the driver does not tell how much memory each process has")
    # In a container a process may have another number; then it is known only if it is alone.
    own = [p for p in found if p.pid == os.getpid()] or (found if len(found) == 1 else [])
    if not own or own[0].usedGpuMemory is None:
        pytest.skip("the driver does not tell how much memory this process has")
    return int(own[0].usedGpuMemory)
