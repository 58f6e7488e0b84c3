"""Read the quantised matmuls of a graph that `quantize` has made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from dsunet_export.graph.values import array_of
from dsunet_export.quantization.merge_matmuls import is_part, unmerged_name


@dataclass(frozen=True, slots=True)
class QuantizedMatmul:
    """How the activation of a matmul is rounded, and its rounded weight."""

    scale: NDArray[np.float32]
    """Step of the activation, a scalar."""
    zero_point: NDArray[Any]
    """Zero, in the 8-bit type."""
    weight: NDArray[np.float32]
    """K×N, after rounding."""


def read_quantized_matmuls(graph: ir.Graph) -> dict[str, QuantizedMatmul]:
    """Return the quantised matmuls by their names in the float32 graph.

    A matmul into which several were merged is returned as these.
    """
    found = {}
    for node in graph:
        if node.op_type != "MatMul":
            continue
        dequantized = [_dequantized(value) for value in node.inputs]
        activation, stored = dequantized
        if activation is None or stored is None:
            continue
        _, scale, zero_point = activation.inputs
        weight = _array(stored.inputs[0]).astype(np.float32) * _array(stored.inputs[1])
        for name, columns in _results(node, weight.shape[1]):
            found[name] = QuantizedMatmul(_array(scale), _array(zero_point), weight[:, columns])
    return found


def _dequantized(value: ir.Value | None) -> ir.Node | None:
    """Return the DequantizeLinear node that makes a value; None for other values."""
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == "DequantizeLinear" else None


def _array(value: ir.Value | None) -> NDArray[Any]:
    if value is None:
        raise ValueError("a Q/DQ node has no scale or no zero point")
    return array_of(value)


def _results(matmul: ir.Node, width: int) -> Iterator[tuple[str, slice]]:
    """Yield the matmuls that were merged into one, or itself, with the columns of each."""
    reader = next((use.node for use in matmul.outputs[0].uses()), matmul)
    if not is_part(reader.outputs[0]):
        yield str(matmul.name), slice(0, width)
        return
    start = 0
    for value, columns in zip(reader.outputs, _array(reader.inputs[1]), strict=True):
        yield unmerged_name(value), slice(start, start + columns)
        start += columns
