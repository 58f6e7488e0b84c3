"""Convert a graph quantised to 8-bit integers to 8-bit floats (E4M3).

ONNX Runtime's quantiser derives the scale of a float8 tensor from its standard deviation and clips
values beyond 4.5 standard deviations.  The graph is therefore quantised to integers first; then new
scales map the largest magnitude to the largest float8 value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from dsunet_export.graph.values import array_of
from dsunet_export.quantization.calibration import LEVELS

TYPE = np.dtype(ml_dtypes.float8_e4m3fn)
LARGEST = 448.0
"""Largest finite E4M3 value."""


def to_float8(graph: ir.Graph, weights: Mapping[str, NDArray[Any]], narrowest: float) -> None:
    """Convert all quantised tensors to float8, in place.

    `weights` holds the float32 weights K×N of the matmuls by name; a column with a smaller range
    than `narrowest` gets that range.
    """
    for node in [node for node in graph if node.op_type == "QuantizeLinear"]:
        users = [node, *(use.node for use in node.outputs[0].uses())]
        scale = array_of(_given(node.inputs[1])) * np.float32(LEVELS / LARGEST)
        _set(graph, users, 1, scale)
        _set(graph, users, 2, np.zeros((), TYPE))
        node.outputs[0].dtype = ir.DataType.FLOAT8E4M3FN
    for node in [node for node in graph if node.op_type == "DequantizeLinear"]:
        stored = _given(node.inputs[0])
        if not stored.is_initializer():
            continue
        weight = weights[str(stored.name).removesuffix("_quantized")]
        scale = np.maximum(np.abs(weight).max(0), narrowest / 2) / np.float32(LARGEST)
        _set(graph, [node], 0, (weight / scale).astype(TYPE))
        _set(graph, [node], 1, scale)
        _set(graph, [node], 2, np.zeros(scale.shape, TYPE))


def _set(graph: ir.Graph, nodes: list[ir.Node], index: int, array: NDArray[Any]) -> None:
    """Replace a constant input that several nodes share."""
    old = _given(nodes[0].inputs[index])
    new = ir.val(f"{old.name}.float8", const_value=ir.tensor(array))
    graph.register_initializer(new)
    for node in nodes:
        node.replace_input_with(index, new)
    if not old.uses():
        del graph.initializers[str(old.name)]


def _given(value: ir.Value | None) -> ir.Value:
    if value is None:
        raise ValueError("ONNX Runtime's quantiser omitted an input of a Q/DQ node")
    return value
