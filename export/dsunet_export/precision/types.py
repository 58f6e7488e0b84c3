"""Which nodes of a graph compute with floats, and in which of their inputs and outputs.

The operators' own schemas say it: an input whose type is a variable follows the node's precision,
one of a fixed type, such as the scales of Resize, does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
        if is_float(value) and "(" not in _type(schema.inputs, index):
            yield index


def follows(node: ir.Node, opset: int) -> bool:
    """Whether a node computes with floats, and could do so in another precision."""
    return any(map(is_float, node.outputs)) or any(True for _ in following_inputs(node, opset))


def supports(node: ir.Node, element_type: str, opset: int) -> bool:
    """Whether all floats that the node gives are of another type if those that it reads are.

    Not so where the operator set does not know that type for it, or an attribute or the operator
    says what it gives.
    """
    if node.op_type == "Cast":  # its attribute is changed
        return True
    schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
    allowed = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}
    read = {_type(schema.inputs, index) for index in following_inputs(node, opset)}
    given = {_type(schema.outputs, i) for i, value in enumerate(node.outputs) if is_float(value)}
    return given <= read and all(f"tensor({element_type})" in allowed[t] for t in read)


def makes_integers(node: ir.Node) -> bool:
    """Whether a node casts floats to whole numbers or truth values."""
    made = node.outputs[0].dtype
    return (
        node.op_type == "Cast"
        and is_float(node.inputs[0])
        and made is not None
        and not made.is_floating_point()
    )


def _type(formal: Sequence[onnx.defs.OpSchema.FormalParameter], index: int) -> str:
    """The type, or the variable for it, of an input or output; a variadic one is the last."""
    return formal[min(index, len(formal) - 1)].type_str
