"""CUDA for the runtime: devices, memory, streams and events, through cuda-python or PyCUDA.

    cuda = find()
    for gpu in cuda.gpus():
        print(gpu.name, gpu.compute_capability, gpu.memory, nvml.free_memory(gpu))

Listing GPUs does not create a context.

contract     the interface that both bindings implement
cuda_python  cuda-python, NVIDIA's binding, which has wheels and needs no toolkit
pycuda       PyCUDA, for programs that already use it
libcuda      functions of the driver that PyCUDA lacks, through ctypes
nvml         the state of a GPU, without a CUDA context
errors       errors of CUDA calls, for both bindings
"""

from __future__ import annotations

import importlib.util

from dsunet_runtime.cuda.contract import (
    Capture,
    Cuda,
    Device,
    Event,
    Gpu,
    Graph,
    Memory,
    PinnedMemory,
    Stream,
)
from dsunet_runtime.errors import BackendError
from dsunet_runtime.extras import install_command

__all__ = [
    "Capture",
    "Cuda",
    "Device",
    "Event",
    "Gpu",
    "Graph",
    "Memory",
    "PinnedMemory",
    "Stream",
    "find",
]


def find() -> Cuda:
    """Return the CUDA driver, through cuda-python if installed, else through PyCUDA.

    cuda-python is preferred because it has wheels and supports graph capture.
    Raises BackendError if neither is installed, or if there is no driver.
    """
    if _installed("cuda", "cuda.bindings"):
        from dsunet_runtime.cuda.cuda_python import CudaPython

        return CudaPython()
    if _installed("pycuda"):
        from dsunet_runtime.cuda.pycuda import PyCuda

        return PyCuda()
    raise BackendError(
        f"neither cuda-python nor PyCUDA is installed: {install_command('cuda')}, or "
        f"{install_command('pycuda')} where there is a CUDA toolkit"
    )


def _installed(*packages: str) -> bool:
    """Whether packages are installed, without importing them; list parent packages first."""
    return all(importlib.util.find_spec(package) is not None for package in packages)
