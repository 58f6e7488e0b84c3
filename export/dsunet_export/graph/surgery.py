"""Transformations of ONNX graphs that do not change what they compute."""

from __future__ import annotations

import ast
import re

import numpy as np
import onnx_ir as ir
import torch


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
                output.name = f"{node.name}:{index}" if index else node.name
    for value in list(graph.initializers.values()):
        _rename_initializer(graph, value, _unused(_initializer_name(value), taken))


def _initializer_name(value: ir.Value) -> str:
    if "." in str(value.name):  # as all keys of the state dict; the tracer's own names have none
        return state_key(str(value.name))
    readers = value.consumers()
    return f"{readers[0].name}.constant" if readers else "constant"


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
    """Convert a name of the tracer, in `FramesGraph` or `TensorsGraph`, to a key of DSUNet's state.

    That is the name without the attribute under which they hold the network.
    """
    return re.sub(r"^model(\.|$)", "", name)


def _unused(name: str, taken: set[str]) -> str:
    candidates = (name if k == 0 else f"{name}_{k}" for k in range(len(taken) + 1))
    chosen = next(candidate for candidate in candidates if candidate not in taken)
    taken.add(chosen)
    return chosen


def _rename_initializer(graph: ir.Graph, value: ir.Value, name: str) -> None:
    del graph.initializers[str(value.name)]
    value.name = name
    graph.register_initializer(value)
