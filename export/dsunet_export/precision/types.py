"""Find the nodes that compute in floating point, and the inputs that have the node's precision.

The schemas of the operators define this: an input whose type is a type variable has the precision
of the node; an input of a fixed type, such as the scales of Resize, does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import onnx.defs
import onnx_ir as ir

from dsunet_export.graph.values import is_float

TAKES_ANY_TYPE = frozenset({"Cast", "Shape", "Size"})
"""Operators whose output type does not depend on their input type."""

# fmt: off
MOVES_VALUES = frozenset({
    "Concat", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Pad", "Relu", "Reshape",
    "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze",
})
# fmt: on
"""Operators that only move or select values, or insert zeros, and so never round."""


def variable_type_inputs(node: ir.Node, opset: int) -> Iterator[int]:
    """Yield the indices of the float32 inputs that have the node's precision."""
    if node.op_type in TAKES_ANY_TYPE:
        return
    schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
    for index, value in enumerate(node.inputs):
        if is_float(value) and "(" not in _type(schema.inputs, index):
            yield index


def has_variable_type(node: ir.Node, opset: int) -> bool:
    """Return whether a node computes in float32 and has a type variable for its precision."""
    return any(map(is_float, node.outputs)) or any(True for _ in variable_type_inputs(node, opset))


def supports(node: ir.Node, element_type: str, opset: int) -> bool:
    """Return whether a node can compute in another floating point type.

    It cannot if the opset does not allow the type for it, or if an attribute or the operator fixes
    the type of an output.
    """
    if node.op_type == "Cast":  # its attribute is changed
        return True
    schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
    allowed = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}
    read = {_type(schema.inputs, index) for index in variable_type_inputs(node, opset)}
    given = {_type(schema.outputs, i) for i, value in enumerate(node.outputs) if is_float(value)}
    return given <= read and all(f"tensor({element_type})" in allowed[t] for t in read)


def makes_integers(node: ir.Node) -> bool:
    """Return whether a node casts floating point values to integers or booleans."""
    made = node.outputs[0].dtype
    return (
        node.op_type == "Cast"
        and is_float(node.inputs[0])
        and made is not None
        and not made.is_floating_point()
    )


def _type(formal: Sequence[onnx.defs.OpSchema.FormalParameter], index: int) -> str:
    """Return the type or type variable of an input or output; the last one may be variadic."""
    return formal[min(index, len(formal) - 1)].type_str
