"""Emulate the rounding of every tensor of a float16 or bfloat16 graph in float32.

ONNX Runtime on the CPU computes float16 nodes in float32 between casts that it inserts, and removes
pairs of casts: a tensor between two nodes is then never rounded and cannot overflow.  It does not
support most bfloat16 nodes.  Here the casts are written into the graph, where ONNX Runtime keeps
them: every node computes in float32, and its result is rounded.

A GPU rounds less often in fused operations, may round more often inside an operation, and may
accumulate in less than float32.  This emulation has not been compared with a GPU yet.
"""

from __future__ import annotations

import onnx_ir as ir

from dsunet_export.graph.values import FLOAT, insert_cast
from dsunet_export.precision.types import MOVES_VALUES


def emulate_rounding(model: ir.Model, data_type: ir.DataType) -> None:
    """Replace computation in a reduced type by float32 with explicit rounding, in place."""
    graph = model.graph
    for weight in [v for v in graph.initializers.values() if v.dtype is data_type]:
        _widen(graph, weight, weight)
    for node in list(graph):
        for value in [output for output in node.outputs if output.dtype is data_type]:
            if node.op_type == "Cast":
                _widen(graph, value, value)
                continue
            value.dtype = FLOAT
            if node.op_type not in MOVES_VALUES:  # their results are rounded already
                _widen(graph, value, insert_cast(graph, value, data_type, f"{value.name}.rounded"))


def _widen(graph: ir.Graph, value: ir.Value, rounded: ir.Value) -> None:
    """Make all readers of `value` read `rounded`, cast to float32."""
    users = [use for use in value.uses() if use.node is not rounded.producer()]
    wide = insert_cast(graph, rounded, FLOAT, f"{value.name}.wide")
    for node, index in users:
        node.replace_input_with(index, wide)
