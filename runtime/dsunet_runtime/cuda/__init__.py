"""CUDA for the runtime: devices, memory, streams and events, through whichever binding is there.

    cuda = find()
    for gpu in cuda.gpus():
        print(gpu.name, gpu.compute_capability, gpu.memory, nvml.free_memory(gpu))

Neither lists what is there by creating a context.
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
    """The CUDA driver: through cuda-python if it is installed, else through PyCUDA.

    cuda-python comes first because it has wheels, which need no compiler, and captures graphs.
    Raises BackendError if neither is installed or there is no driver.
    """
    if _installed("cuda", "cuda.bindings"):
        from dsunet_runtime.cuda.cuda_python import CudaPython

        return CudaPython()
    if _installed("pycuda"):
        from dsunet_runtime.cuda.pycuda import PyCuda

        return PyCuda()
    raise BackendError(
        "neither cuda-python nor PyCUDA is installed: pip install 'dsunet[cuda]', or "
        "'dsunet[pycuda]' where there is a CUDA toolkit"
    )


def _installed(*packages: str) -> bool:
    """Whether a package, named after those that hold it, is there.  Does not import it."""
    return all(importlib.util.find_spec(package) is not None for package in packages)
