"""Small ONNX graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common as passes

Line = tuple[str, str, Sequence[str], Mapping[str, Any]]
"""A node: its name, which is also its output's, its operator, its inputs and its attributes."""


def graph(
    lines: Sequence[Line],
    weights: Mapping[str, NDArray[Any]] | None = None,
    shape: Sequence[int] = (4, 4),
    opset: int = 20,
) -> ir.Model:
    """The model with these nodes, from the float32 input `x` to the last node's output."""
    x = ir.val("x", ir.DataType.FLOAT, ir.Shape(shape))
    values: dict[str, ir.Value] = {"x": x}
    for name, array in (weights or {}).items():
        values[name] = ir.val(name, const_value=ir.tensor(array, name=name))
    nodes = []
    for name, op_type, inputs, attributes in lines:
        node = ir.node(op_type, [values.get(i) for i in inputs], dict(attributes), name=name)
        node.outputs[0].name = name
        values[name] = node.outputs[0]
        nodes.append(node)
    result = nodes[-1].outputs[0]
    result.dtype = ir.DataType.FLOAT
    initializers = [values[name] for name in weights or {}]
    built = ir.Graph(
        [x], [result], nodes=nodes, initializers=initializers, opset_imports={"": opset}, name="g"
    )
    model = ir.Model(built, ir_version=10)
    passes.ShapeInferencePass()(model)
    return model


def chain(*op_types: str) -> list[Line]:
    """Nodes of one input, each reading the one before, named after their operators."""
    names = ["x", *(f"{op_type.lower()}{k}" for k, op_type in enumerate(op_types))]
    return [
        (name, op_type, [before], {})
        for before, name, op_type in zip(names, names[1:], op_types, strict=False)
    ]


def casts(model: ir.Model) -> list[tuple[str, str]]:
    """Return the casts of a graph, in order."""
    return [
        (str(node.inputs[0].name), node.outputs[0].dtype.name)
        for node in model.graph
        if node.op_type == "Cast"
    ]


def dtypes(model: ir.Model) -> dict[str, str]:
    """Types of the nodes' first outputs, by the node's name."""
    return {str(node.name): node.outputs[0].dtype.name for node in model.graph}


def random_weight(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
