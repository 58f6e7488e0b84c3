"""Faults of half precision, planted in a float32 graph that they leave as exact as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper, numpy_helper

from dsunet_export.precision.convert_graph import infer_types
from dsunet_export.precision.convert_nodes import narrow
from dsunet_export.precision.rules import KeptNodes
from dsunet_export.precision.types import has_variable_type
from dsunet_runtime import read_manifest
from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.artifact.manifest import METADATA_KEY, Precision
from tests.runtime import artifacts

Plant = Callable[[onnx.ModelProto, str], None]


def overflow(model: onnx.ModelProto, module: str) -> None:
    """The result of a module's last matmul is multiplied by 2^15 and divided by it again."""
    node = [n for n in _nodes(model, module) if n.op_type in ("MatMul", "Conv")][-1]
    up = _insert(model, node, node.output[0], "Mul", 2.0**15, f"{module}/Mul_up")
    _insert(model, up, up.output[0], "Mul", 2.0**-15, f"{module}/Mul_down")


def underflow(model: onnx.ModelProto, module: str) -> None:
    """A module's normalisation gets 2^-28 times its input, and an epsilon to match."""
    node = next(n for n in _nodes(model, module) if n.op_type == "LayerNormalization")
    _before(model, node, "Mul", 2.0**-28, f"{module}/Mul_small")
    (epsilon,) = (a for a in node.attribute if a.name == "epsilon")
    epsilon.f *= 2.0**-56


def saturation(model: onnx.ModelProto, module: str) -> None:
    """The scores before a module's softmax are all larger by 2^14, which changes no softmax."""
    node = next(n for n in _nodes(model, module) if n.op_type == "Softmax")
    _before(model, node, "Add", 2.0**14, f"{module}/Add_large")


def plant(source: Path, path: Path, *faults: tuple[Plant, str]) -> Path:
    """The artifact with faults in modules."""
    model = onnx.load(source)
    for add, module in faults:
        add(model, module)
    return artifacts.write(path, model, read_manifest(source))


def convert(source: Path, path: Path, *patterns: str) -> Path:
    """Convert an artifact to float16, with only rules and patterns to keep layers in float32.

    It is as if the images on which the exporter measures had not shown the fault.
    """
    model = ir.load(source)
    del model.metadata_props[METADATA_KEY]
    infer_types(model)
    opset = model.opset_imports[""]
    selection = KeptNodes(str(node.name) for node in model.graph if has_variable_type(node, opset))
    selection.apply_rules(Compute.FP16)
    selection.request(patterns)
    weights = narrow(model, selection.names, Compute.FP16)
    precision = Precision("float16", tuple(selection.entries), (), weights)
    manifest = replace(read_manifest(source), precision=precision, verification=())
    return artifacts.write(path, ir.to_proto(model), manifest)


def _nodes(model: onnx.ModelProto, module: str) -> list[onnx.NodeProto]:
    return [n for n in model.graph.node if n.name.startswith((f"{module}/", f"{module}."))]


def _before(
    model: onnx.ModelProto, node: onnx.NodeProto, op_type: str, value: float, name: str
) -> None:
    """Let a node read its first input through another."""
    weight = _constant(model, value, name)
    other = helper.make_node(op_type, [node.input[0], weight], [name], name=name)
    model.graph.node.insert(_index(model, node), other)
    node.input[0] = name


def _insert(
    model: onnx.ModelProto,
    node: onnx.NodeProto,
    value: str,
    op_type: str,
    constant: float,
    name: str,
) -> onnx.NodeProto:
    """Let all that read a value read it through another node."""
    for user in model.graph.node:
        for index, read in enumerate(user.input):
            if read == value:
                user.input[index] = name
    weight = _constant(model, constant, name)
    other = helper.make_node(op_type, [value, weight], [name], name=name)
    model.graph.node.insert(_index(model, node) + 1, other)
    return model.graph.node[_index(model, node) + 1]


def _constant(model: onnx.ModelProto, value: float, name: str) -> str:
    weight = numpy_helper.from_array(np.array(value, np.float32), f"{name}.constant")
    model.graph.initializer.append(weight)
    return weight.name


def _index(model: onnx.ModelProto, node: onnx.NodeProto) -> int:
    return [n.name for n in model.graph.node].index(node.name)
