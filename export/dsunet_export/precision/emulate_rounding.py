"""What a graph of reduced precision gives where every tensor really is rounded.

ONNX Runtime on the CPU computes float16 nodes in float32 between casts of its own, and removes
casts that stand back to back: what lies between two nodes is then never rounded and cannot
overflow, and most bfloat16 nodes it does not know at all.  So the casts are written into the graph,
where it leaves them alone: every node computes in float32 and its result is rounded.

A GPU rounds less often what it fuses, may round more often inside an operation, and may sum in less
than float32.  None has been compared with this yet.
"""

from __future__ import annotations

import onnx_ir as ir

from dsunet_export.precision.narrow import FLOAT, insert_cast
from dsunet_export.precision.types import SELECTS


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
            if node.op_type not in SELECTS:  # those give what was rounded before
                _widen(graph, value, insert_cast(graph, value, data_type, f"{value.name}.rounded"))


def _widen(graph: ir.Graph, value: ir.Value, rounded: ir.Value) -> None:
    """Let all that read `value` read what it is rounded to, in float32."""
    users = [use for use in value.uses() if use.node is not rounded.producer()]
    wide = insert_cast(graph, rounded, FLOAT, f"{value.name}.wide")
    for node, index in users:
        node.replace_input_with(index, wide)
