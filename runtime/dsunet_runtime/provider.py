"""What ONNX Runtime computes with.  Imports nothing heavy: the command line needs it early."""

from __future__ import annotations

import enum


class Provider(enum.StrEnum):
    """What ONNX Runtime computes with."""

    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"

    @property
    def official_name(self) -> str:
        """ONNX Runtime's own name of it."""
        return _OFFICIAL_NAMES[self]

    @property
    def chain(self) -> list[tuple[str, dict[str, str]]]:
        """Providers with their options, in the order in which they may take a node."""
        match self:
            case Provider.CPU:
                chain = []
            case Provider.CUDA:
                chain = [_CUDA]
            case Provider.TENSORRT:
                chain = [(_OFFICIAL_NAMES[self], {}), _CUDA]
        return [*chain, (_OFFICIAL_NAMES[Provider.CPU], {})]


_OFFICIAL_NAMES = {
    Provider.CPU: "CPUExecutionProvider",
    Provider.CUDA: "CUDAExecutionProvider",
    Provider.TENSORRT: "TensorrtExecutionProvider",
}
# Precision is part of the graph: what it declares as float32 is not computed in TF32.
_CUDA = (_OFFICIAL_NAMES[Provider.CUDA], {"use_tf32": "0"})
