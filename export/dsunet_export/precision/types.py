"""Which nodes of a graph compute with floats, and in which of their inputs and outputs.

The operators' own schemas say it: an input whose type is a variable follows the node's precision,
one of a fixed type, such as the scales of Resize, does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeGuard

import onnx.defs
import onnx_ir as ir

TAKES_ANY = frozenset({"Cast", "Shape", "Size"})
"""Operators that read any type and give another: they follow nothing."""

# fmt: off
SELECTS = frozenset({
    "Concat", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Pad", "Relu", "Reshape",
    "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze",
})
# fmt: on
"""Operators that give values which they were given, or zero: they round nothing."""


def is_float(value: ir.Value | None) -> TypeGuard[ir.Value]:
    """Whether a value is a float32 tensor."""
    return value is not None and value.dtype is ir.DataType.FLOAT


def following_inputs(node: ir.Node, opset: int) -> Iterator[int]:
    """Indices of the float32 inputs whose type is the node's precision."""
    if node.op_type in TAKES_ANY:
        return
    schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
    for index, value in enumerate(node.inputs):
        if is_float(value) and "(" not in _formal(schema, index).type_str:
            yield index


def follows(node: ir.Node, opset: int) -> bool:
    """Whether a node computes with floats, and could do so in another precision."""
    return any(map(is_float, node.outputs)) or any(True for _ in following_inputs(node, opset))


def supports(node: ir.Node, element_type: str, opset: int) -> bool:
    """Whether the operator set knows the node with floats of another type."""
    schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
    allowed = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}
    variables = {_formal(schema, index).type_str for index in following_inputs(node, opset)}
    return all(f"tensor({element_type})" in allowed[variable] for variable in variables)


def _formal(schema: onnx.defs.OpSchema, index: int) -> onnx.defs.OpSchema.FormalParameter:
    # A variadic input is the last one of the schema.
    return schema.inputs[min(index, len(schema.inputs) - 1)]
