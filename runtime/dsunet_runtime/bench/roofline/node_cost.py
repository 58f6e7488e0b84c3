"""Multiply-adds and bytes of an executed node, from the shapes of its inputs and outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dsunet_runtime.artifact.shapes import Shape

_MATMULS = frozenset({"MatMul", "FusedMatMul"})
_FLOAT_MATMULS = _MATMULS | {"Gemm", "FusedGemm"}
_ALL_MATMULS = _FLOAT_MATMULS | {
    *("MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QLinearMatMul", "QGemm"),
}
_CONVOLUTIONS = frozenset({"Conv", "FusedConv", "ConvInteger", "QLinearConv"})
_TRANSPOSED_CONVOLUTIONS = frozenset({"ConvTranspose"})
_VIEWS = frozenset({"Flatten", "Identity", "Reshape", "Shape", "Size", "Squeeze", "Unsqueeze"})
"""Operators that change only the shape, or read only the shape."""
_PARTS = frozenset({"Gather", "GatherElements", "GatherND", "Slice"})
"""Operators that read as many bytes of their first input as they write."""

_SIZES = {
    **dict.fromkeys(("bool", "int8", "uint8", "float8e4m3fn"), 1),
    **dict.fromkeys(("float16", "bfloat16", "int16", "uint16"), 2),
    **dict.fromkeys(("float", "int32", "uint32"), 4),
    **dict.fromkeys(("double", "int64", "uint64"), 8),
}
"""Bytes of an element, by ONNX Runtime's names of types."""


@dataclass(frozen=True, slots=True)
class NodeTensor:
    """An input or output of a node."""

    dtype: str
    """ONNX Runtime's name of the type; `float` is float32."""
    shape: Shape

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Size in bytes; 0 for an unknown type."""
        return self.elements * _SIZES.get(self.dtype, 0)


@dataclass(frozen=True, slots=True)
class Node:
    """One node as it was executed."""

    operator: str
    inputs: Sequence[NodeTensor]
    """Inputs, except constant matrices that ONNX Runtime prepacked on loading: the profile omits
    them."""
    outputs: Sequence[NodeTensor]

    @property
    def macs(self) -> int | None:
        """Multiply-adds of matmuls and convolutions, 0 for other operators; None if unknown."""
        if self.operator in _ALL_MATMULS:
            return self._matmul_macs()
        if self.operator in _CONVOLUTIONS:
            return self._convolution(self.outputs[0])
        if self.operator in _TRANSPOSED_CONVOLUTIONS:
            return self._convolution(self.inputs[0])
        return 0

    @property
    def bytes(self) -> int:
        """Bytes read and written, each input and output once."""
        if self.operator in _VIEWS:
            return 0
        written = sum(tensor.bytes for tensor in self.outputs)
        if self.operator in _PARTS:
            return 2 * written
        return written + sum(tensor.bytes for tensor in self.inputs) + self._prepacked_bytes()

    def _matmul_macs(self) -> int:
        """From numbers of elements, which are the same for transposed operands.

        Those of M×K, K×N and M×N make up (MKN)² together.
        """
        result, operands = self.outputs[0], self._factors()
        if len(operands) == 1:  # M×K times the prepacked K×N
            return operands[0].elements * result.shape[-1]
        a, b = operands
        shared = math.prod(
            x for x, y in zip(a.shape[-3::-1], b.shape[-3::-1], strict=False) if x == y
        )
        return math.isqrt(a.elements * b.elements * result.elements // max(1, shared))

    def _convolution(self, positions: NodeTensor) -> int | None:
        """Each element of `positions` is multiplied by all weights of its channel."""
        operands = self._operands(3)
        if len(operands) < 2:
            return None
        weights = operands[1]
        return positions.elements * (weights.elements // weights.shape[0])

    def _prepacked_bytes(self) -> int:
        """Size in bytes of a prepacked weight matrix that the profile omits."""
        if self.operator not in _ALL_MATMULS or len(self._factors()) == 2:
            return 0
        (shown,), result = self._factors(), self.outputs[0]
        columns = result.shape[-1]
        rows = shown.elements * columns // max(1, result.elements)
        wide = self.operator in _FLOAT_MATMULS
        return rows * columns * (_SIZES.get(shown.dtype, 0) if wide else 1)

    def _factors(self) -> list[NodeTensor]:
        """The matrices of a matmul, one or both, without scales, zero points and bias."""
        return self._operands(1 if self.operator in _MATMULS else 2)

    def _operands(self, rank: int) -> list[NodeTensor]:
        return [tensor for tensor in self.inputs if len(tensor.shape) >= rank][:2]
