"""Multiply-adds and bytes of an executed node, from the shapes of what it reads and writes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dsunet_runtime.shapes import Shape

_MATMULS = frozenset({"MatMul", "FusedMatMul"})
_FLOAT_PRODUCTS = _MATMULS | {"Gemm", "FusedGemm"}
_PRODUCTS = _FLOAT_PRODUCTS | {
    *("MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QLinearMatMul", "QGemm"),
}
_CONVOLUTIONS = frozenset({"Conv", "FusedConv", "ConvInteger", "QLinearConv"})
_TRANSPOSED_CONVOLUTIONS = frozenset({"ConvTranspose"})
_VIEWS = frozenset({"Flatten", "Identity", "Reshape", "Shape", "Size", "Squeeze", "Unsqueeze"})
"""They give the memory that they take another shape, or look at the shape alone."""
_PARTS = frozenset({"Gather", "GatherElements", "GatherND", "Slice"})
"""They read as much of their first input as they write."""

_SIZES = {
    **dict.fromkeys(("bool", "int8", "uint8", "float8e4m3fn"), 1),
    **dict.fromkeys(("float16", "bfloat16", "int16", "uint16"), 2),
    **dict.fromkeys(("float", "int32", "uint32"), 4),
    **dict.fromkeys(("double", "int64", "uint64"), 8),
}
"""Bytes of an element, by ONNX Runtime's names of types."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """What a node reads or writes."""

    dtype: str
    """As ONNX Runtime calls it: `float` is 32 bits wide."""
    shape: Shape

    @property
    def elements(self) -> int:
        """How many numbers there are in it."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes of it; none of a type that is not known here."""
        return self.elements * _SIZES.get(self.dtype, 0)


@dataclass(frozen=True, slots=True)
class Node:
    """One node as it was executed."""

    operator: str
    inputs: Sequence[Tensor]
    """Without those that the profile does not show: constant matrices that ONNX Runtime has
    rearranged while loading."""
    outputs: Sequence[Tensor]

    @property
    def macs(self) -> int | None:
        """Multiply-adds of matrix products and convolutions; None where they cannot be told."""
        if self.operator in _PRODUCTS:
            return self._product()
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
        return written + sum(tensor.bytes for tensor in self.inputs) + self._hidden()

    def _product(self) -> int:
        """From numbers of elements, which are the same for transposed operands.

        Those of M×K, K×N and M×N make up (MKN)² together.
        """
        result, operands = self.outputs[0], self._factors()
        if len(operands) == 1:  # M×K times the hidden K×N
            return operands[0].elements * result.shape[-1]
        a, b = operands
        shared = math.prod(
            x for x, y in zip(a.shape[-3::-1], b.shape[-3::-1], strict=False) if x == y
        )
        return math.isqrt(a.elements * b.elements * result.elements // max(1, shared))

    def _convolution(self, places: Tensor) -> int | None:
        """Each number of `places` meets the weights of its channel once."""
        operands = self._operands(3)
        if len(operands) < 2:
            return None
        weights = operands[1]
        return places.elements * (weights.elements // weights.shape[0])

    def _hidden(self) -> int:
        """Bytes of a product's matrix that the profile does not show."""
        if self.operator not in _PRODUCTS or len(self._factors()) == 2:
            return 0
        (shown,), result = self._factors(), self.outputs[0]
        columns = result.shape[-1]
        rows = shown.elements * columns // max(1, result.elements)
        wide = self.operator in _FLOAT_PRODUCTS
        return rows * columns * (_SIZES.get(shown.dtype, 0) if wide else 1)

    def _factors(self) -> list[Tensor]:
        """What a product multiplies, one or both of them, and not scales, zero points or a bias."""
        return self._operands(1 if self.operator in _MATMULS else 2)

    def _operands(self, rank: int) -> list[Tensor]:
        return [tensor for tensor in self.inputs if len(tensor.shape) >= rank][:2]
