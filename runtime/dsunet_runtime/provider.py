"""What ONNX Runtime computes with.  Imports nothing heavy: the command line needs it early."""

from __future__ import annotations

import enum
import os
from pathlib import Path

MAX_THREADS = 1024
"""That one operation may use, or that may call at once."""


class Provider(enum.StrEnum):
    """What ONNX Runtime computes with."""

    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"

    @property
    def official_name(self) -> str:
        """ONNX Runtime's own name of it."""
        return _OFFICIAL_NAMES[self]

    def chain(self, engines: Path | None) -> list[tuple[str, dict[str, str]]]:
        """Providers with their options, in the order in which they may take a node.

        `engines` is a folder to keep in what TensorRT builds; with None it builds every time.
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
# Precision is part of the graph: what it declares as float32 is not computed in TF32, with whose
# 10 bits of mantissa frames would not be resampled exactly.
_CUDA = (_OFFICIAL_NAMES[Provider.CUDA], {"use_tf32": "0"})


def forbid_tf32() -> None:
    """Forbid TF32 to the whole process, unless its environment says otherwise already.

    The provider `tensorrt` has no option for it.  NVIDIA's libraries read this variable once, so it
    must be there before the first session.
    """
    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")


def _keep(folder: Path | None) -> dict[str, str]:
    """Options of the provider `tensorrt`.

    Its engines are built for the sizes that have come so far, and again when one is outside them.
    """
    if folder is None:
        return {}
    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
    }
