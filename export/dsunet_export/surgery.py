"""Transformations of ONNX graphs that do not change what they compute."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch

PLACEHOLDER_ATTRIBUTE = "taken_out"
"""Attribute under which a placeholder holds its block; omitted from names of nodes."""


def name_after_modules(model: ir.Model) -> None:
    """Name nodes and their outputs `module.path/OpType`, and weights as in the state dict.

    Names are numbered if a module has several nodes of one type.  Inputs and outputs of the graph
    keep their names.  Other constants are named after a node that reads them.
    """
    graph, taken = model.graph, set[str]()
    fixed = {value.name for value in (*graph.inputs, *graph.outputs)}
    for node in graph:
        node.name = _unused("/".join(filter(None, (module_path(node), node.op_type))), taken)
        for index, output in enumerate(node.outputs):
            if output.name not in fixed:
                output.name = _output_name(node, index)
    for value in list(graph.initializers.values()):
        if value not in graph.inputs:
            _rename_initializer(graph, value, _unused(_initializer_name(value), taken))


@dataclass(frozen=True)
class Body:
    """Part of a graph: nodes, in order, that compute one value of some inputs."""

    path: str
    """Path of the traced module, with which names of its nodes may start."""
    inputs: list[ir.Value]
    nodes: list[ir.Node]
    output: ir.Value


def cut_body(graph: ir.Graph, path: str, inputs: list[str], output: str) -> Body:
    """Find the nodes between named inputs and a named output of a graph, which is not changed.

    `path` is the module that they come from.  Raises KeyError for a name that is not in the graph.
    """
    by_name = {value.name: value for value in (*graph.inputs, *graph.outputs)}
    needed: set[ir.Node] = set()
    open_ends = [by_name[output]]
    while open_ends:
        producer = open_ends.pop().producer()
        if producer is not None and producer not in needed:
            needed.add(producer)
            open_ends.extend(value for value in producer.inputs if value is not None)
    nodes = [node for node in graph if node in needed]
    return Body(state_key(path), [by_name[name] for name in inputs], nodes, by_name[output])


def remaining_nodes(graph: ir.Graph, bodies: list[Body]) -> list[ir.Node]:
    """Return the nodes that remain after all bodies are inserted and the originals removed.

    These are the nodes outside bodies, and those in bodies that they read, because equal nodes were
    merged before.
    """
    in_bodies = {node for body in bodies for node in body.nodes}
    staying: set[ir.Node] = set()
    for node in reversed(list(graph)):
        users = {use.node for output in node.outputs for use in output.uses()}
        if node not in in_bodies or users & staying:
            staying.add(node)
    return [node for node in graph if node in staying]


def insert_body(graph: ir.Graph, call: ir.Node, body: Body, taken: set[str]) -> None:
    """Replace a placeholder node by copies of the nodes of `body`.

    The new nodes get names that are not in `taken`, with the module path of the placeholder.
    Raises ValueError if the body does not compute its output.
    """
    path = str(call.name).rpartition("/")[0]
    values: dict[ir.Value | None, ir.Value | None] = {None: None}
    values.update(zip(body.inputs, call.inputs, strict=True))
    for node in body.nodes:
        inner = str(node.name).rpartition("/")[0].removeprefix(body.path).strip(".")
        module = f"{path}.{inner}" if inner else path
        copy = ir.Node(
            node.domain,
            node.op_type,
            # A value from outside the body is a constant that the whole graph shares.
            [values.get(value, value) for value in node.inputs],
            node.attributes.values(),
            num_outputs=len(node.outputs),
            version=node.version,
            name=_unused(f"{module}/{node.op_type}", taken),
        )
        for index, original in enumerate(node.outputs):
            output = copy.outputs[index]
            output.name = _output_name(copy, index)
            output.type, output.shape = original.type, original.shape
            values[original] = output
        graph.insert_before(call, copy)
    result = values[body.output]
    if result is None:
        raise ValueError(f"{call.name}: the body has no output")
    ir.convenience.replace_all_uses_with(call.outputs[0], result)
    graph.remove(call, safe=True)


def _initializer_name(value: ir.Value) -> str:
    if "." in str(value.name):  # as all keys of the state dict; the tracer's own names have none
        return state_key(str(value.name))
    readers = value.consumers()
    return f"{readers[0].name}.constant" if readers else "constant"


def _output_name(node: ir.Node, index: int) -> str:
    return str(node.name) if index == 0 else f"{node.name}:{index}"


def fix_reshape_shapes(graph: ir.Graph) -> None:
    """Replace computed shapes of Reshape nodes with at most one dynamic axis by constants with -1.

    The tracer computes such shapes from the batch size, with several nodes each.
    """
    for node in list(graph):
        shape = node.outputs[0].shape
        if node.op_type != "Reshape" or shape is None or node.inputs[1] is None:
            continue
        sizes = [dim if isinstance(dim, int) else -1 for dim in shape]
        if sizes.count(-1) > 1 or 0 in sizes:
            continue
        constant = ir.node("Constant", [], {"value": ir.tensor(np.array(sizes, np.int64))})
        graph.insert_before(node, constant)
        node.replace_input_with(1, constant.outputs[0])


def transpose_weights(graph: ir.Graph) -> None:
    """Replace Transpose nodes of weights by transposed weights."""
    transposed: dict[tuple[ir.Value, tuple[int, ...]], ir.Value] = {}
    taken = set(graph.initializers)
    for node in list(graph):
        weight = node.inputs[0] if node.inputs else None
        if node.op_type != "Transpose" or weight is None or not weight.is_initializer():
            continue
        tensor = weight.const_value
        permutation = node.attributes.get("perm")
        if tensor is None or permutation is None:
            continue
        order = tuple(node.attributes["perm"].as_ints())
        if (weight, order) not in transposed:
            # A view: PyTorch, four times as fast at it as NumPy, copies when the file is written.
            view = torch.from_numpy(tensor.numpy()).permute(order)
            name = _unused(f"{weight.name}.T", taken)
            transposed[weight, order] = ir.val(name, const_value=ir.tensor(view))
            graph.register_initializer(transposed[weight, order])
        ir.convenience.replace_all_uses_with(node.outputs[0], transposed[weight, order])
        graph.remove(node, safe=True)
        if not weight.uses():
            del graph.initializers[str(weight.name)]


def module_path(node: ir.Node) -> str:
    """Return the path of the innermost module that a node comes from; empty if there is none."""
    scopes = ast.literal_eval(node.metadata_props.get("pkg.torch.onnx.name_scopes", "[]"))
    return state_key(scopes[-2]) if len(scopes) > 1 and not scopes[-2].startswith("_") else ""


def state_key(name: str) -> str:
    """Convert a name of the tracer to a key of DSUNet's state dict.

    Removes the wrappers around the traced model and the placeholders.
    """
    bare = re.sub(r"^(module(\.|$))?(model(\.|$))?", "", name)
    return ".".join(part for part in bare.split(".") if part != PLACEHOLDER_ATTRIBUTE)


def _unused(name: str, taken: set[str]) -> str:
    candidates = (name if k == 0 else f"{name}_{k}" for k in range(len(taken) + 1))
    chosen = next(candidate for candidate in candidates if candidate not in taken)
    taken.add(chosen)
    return chosen


def _rename_initializer(graph: ir.Graph, value: ir.Value, name: str) -> None:
    del graph.initializers[str(value.name)]
    value.name = name
    graph.register_initializer(value)
