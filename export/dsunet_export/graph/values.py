"""Tensors of an ONNX graph: their types and arrays, and nodes inserted after them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import onnx_ir as ir
from numpy.typing import NDArray

FLOAT = ir.DataType.FLOAT


def is_float(value: ir.Value | None) -> TypeGuard[ir.Value]:
    """Return whether a value is a float32 tensor."""
    return value is not None and value.dtype is ir.DataType.FLOAT


def insert_cast(graph: ir.Graph, value: ir.Value, data_type: ir.DataType, name: str) -> ir.Value:
    """Insert a cast of a value directly after its producer; node and result get the given name."""
    node = ir.node("Cast", [value], {"to": int(data_type)}, name=name)
    result = node.outputs[0]
    result.name, result.dtype, result.shape = name, data_type, value.shape
    insert_after_producer(graph, value, [node])
    return result


def insert_after_producer(graph: ir.Graph, value: ir.Value, nodes: Sequence[ir.Node]) -> None:
    """Insert nodes that read a value after its producer, or first for inputs of the graph."""
    producer = value.producer()
    if producer is None:
        graph.insert_before(graph[0], nodes)
    else:
        graph.insert_after(producer, nodes)


def array_of(value: ir.Value) -> NDArray[Any]:
    """Return the array of an initializer."""
    if value.const_value is None:
        raise ValueError(f"{value.name} is not an initializer")
    return value.const_value.numpy()
