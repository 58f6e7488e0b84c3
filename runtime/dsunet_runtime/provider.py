"""Execution providers of ONNX Runtime.

The command line imports this module, so its imports must stay light.
"""

from __future__ import annotations

import enum
import os
from pathlib import Path

MAX_THREADS = 1024
"""Maximum number of threads of one operation, and of concurrent callers."""


class Provider(enum.StrEnum):
    """An execution provider of ONNX Runtime."""

    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"

    @property
    def official_name(self) -> str:
        """ONNX Runtime's name of the provider."""
        return _OFFICIAL_NAMES[self]

    def chain(self, engines: Path | None) -> list[tuple[str, dict[str, str]]]:
        """Return the providers with their options, in order of priority.

        `engines` is the folder in which TensorRT caches its engines; None disables the cache.
        """
        match self:
            case Provider.CPU:
                chain = []
            case Provider.CUDA:
                chain = [_CUDA]
            case Provider.TENSORRT:
                chain = [(_OFFICIAL_NAMES[self], _keep(engines)), _CUDA]
        return [*chain, (_OFFICIAL_NAMES[Provider.CPU], {})]


_OFFICIAL_NAMES = {
    Provider.CPU: "CPUExecutionProvider",
    Provider.CUDA: "CUDAExecutionProvider",
    Provider.TENSORRT: "TensorrtExecutionProvider",
}
# The graph defines the precision: float32 is not computed in TF32, whose mantissa of 10 bits is too
# short for exact resampling of frames.
_CUDA = (_OFFICIAL_NAMES[Provider.CUDA], {"use_tf32": "0"})


def forbid_tf32() -> None:
    """Disable TF32 for the process, unless the environment variable is already set.

    The provider `tensorrt` has no option for it.  NVIDIA's libraries read the variable once, so it
    must be set before the first session.
    """
    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")


def _keep(folder: Path | None) -> dict[str, str]:
    """Options of the provider `tensorrt`.

    It builds engines for the range of shapes seen so far, and rebuilds them for shapes outside it.
    """
    if folder is None:
        return {}
    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
    }
