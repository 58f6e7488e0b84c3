"""Convert nodes of a float32 graph to strongly typed float16 or bfloat16, with explicit casts.

Inputs and outputs of the graph keep their types.  Weights are stored in the type in which their
nodes read them.  A tensor is cast at most once in each direction, and never there and back.
"""

from __future__ import annotations

from collections.abc import Collection

import ml_dtypes
import numpy as np
import onnx_ir as ir

from dsunet_export.graph.names import PREPROCESS, is_in
from dsunet_export.graph.values import FLOAT, array_of, insert_cast, is_float
from dsunet_export.precision.types import (
    MOVES_VALUES,
    TAKES_ANY_TYPE,
    has_variable_type,
    makes_integers,
    variable_type_inputs,
)
from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.artifact.manifest import NarrowedWeights

DATA_TYPES = {Compute.FP16: ir.DataType.FLOAT16, Compute.BF16: ir.DataType.BFLOAT16}
SMALLEST_NORMAL = {Compute.FP16: 2.0**-14, Compute.BF16: 2.0**-126}
NUMPY_TYPES = {Compute.FP16: np.dtype(np.float16), Compute.BF16: np.dtype(ml_dtypes.bfloat16)}


def narrow(model: ir.Model, kept: Collection[str], compute: Compute) -> NarrowedWeights:
    """Convert all nodes of a float32 graph except those named in `kept`, in place.

    The types of all values must be known (`infer_types`).  Returns what became of the weights.
    """
    narrowing = _Narrowing(model, kept, compute)
    for node in list(model.graph):
        narrowing.rewire(node)
    narrowing.retype()
    narrowing.keep_outputs()
    return narrowing.replace_weights()


def nodes_in_float32(graph: ir.Graph, kept: Collection[str], opset: int) -> set[ir.Node]:
    """Return the nodes named in `kept`, and the nodes between them that only move values.

    A node that moves values between float32 nodes stays in float32, because conversion would round
    them.  Inputs and outputs of the graph count as float32, and so do nodes that convert to
    integers if the node before them is kept.
    """
    nodes = [node for node in graph if has_variable_type(node, opset)]
    fixed = {node for node in nodes if node.name in kept}
    movers = [node for node in nodes if node.op_type in MOVES_VALUES and node not in fixed]
    from_float32, to_float32 = set(fixed), fixed | set(filter(makes_integers, graph))
    for node in movers:
        sources = [v for v in node.inputs if is_float(v) and not v.is_initializer()]
        if all(v.is_graph_input() or v.producer() in from_float32 for v in sources):
            from_float32.add(node)
    for node in reversed(movers):
        users = {use.node for output in node.outputs for use in output.uses()}
        if users & to_float32 or any(output.is_graph_output() for output in node.outputs):
            to_float32.add(node)
    return from_float32 & to_float32


class _Narrowing:
    def __init__(self, model: ir.Model, kept: Collection[str], compute: Compute) -> None:
        self.graph = model.graph
        self.opset = model.opset_imports[""]
        self.compute, self.data_type = compute, DATA_TYPES[compute]
        in_float32 = nodes_in_float32(model.graph, kept, self.opset)
        self.nodes = {
            node
            for node in model.graph
            if has_variable_type(node, self.opset) and node not in in_float32
        }
        self.values = {value for node in self.nodes for value in node.outputs if is_float(value)}
        self.casts: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}
        self.weights: dict[ir.Value, ir.Value] = {}

    def rewire(self, node: ir.Node) -> None:
        """Make a node read each input in the type that it needs."""
        if node.op_type in TAKES_ANY_TYPE:
            return
        following = set(variable_type_inputs(node, self.opset))
        for index, value in enumerate(node.inputs):
            if not is_float(value):
                continue
            narrow = node in self.nodes and index in following
            if value.is_initializer():
                if narrow:
                    node.replace_input_with(index, self._narrow_weight(value))
            elif narrow != (value in self.values):
                wanted = self.data_type if narrow else FLOAT
                node.replace_input_with(index, self._cast(value, wanted))

    def retype(self) -> None:
        """Set the types of the outputs of converted nodes."""
        for value in self.values:
            value.dtype = self.data_type
        for node in self.nodes:
            if node.op_type == "Cast":
                node.attributes["to"] = ir.AttrInt64("to", int(self.data_type))

    def keep_outputs(self) -> None:
        """Cast outputs of the graph back to float32, with their names."""
        for index, value in enumerate(self.graph.outputs):
            if value in self.values:
                result = self._cast(value, FLOAT)
                result.name, value.name = value.name, f"{value.name}.{self.compute.element_type}"
                self.graph.outputs[index] = result

    def replace_weights(self) -> NarrowedWeights:
        """Replace weights that are no longer read by the converted ones, and count them."""
        subnormal = zeroed = 0
        for old, new in self.weights.items():
            if not old.uses():
                del self.graph.initializers[str(old.name)]
                new.name = old.name
            self.graph.register_initializer(new)
            nonzero = np.count_nonzero(array_of(new))
            zeroed += int(np.count_nonzero(array_of(old)) - nonzero)
            normal = np.count_nonzero(np.abs(array_of(new)) >= SMALLEST_NORMAL[self.compute])
            subnormal += int(nonzero - normal)
        # Resampling weights, which depend on the image size, are not weights of the network.
        stored = [v for v in self.graph.initializers.values() if not is_in(PREPROCESS, v.name)]
        kept = sum(array_of(value).size for value in stored if is_float(value))
        narrowed = sum(array_of(value).size for value in self.weights.values())
        return NarrowedWeights(narrowed, kept, subnormal, zeroed)

    def _narrow_weight(self, value: ir.Value) -> ir.Value:
        if value not in self.weights:
            array = array_of(value).astype(NUMPY_TYPES[self.compute])
            name = f"{value.name}.{self.compute.element_type}"
            self.weights[value] = ir.val(name, const_value=ir.tensor(array))
        return self.weights[value]

    def _cast(self, value: ir.Value, data_type: ir.DataType) -> ir.Value:
        if (value, data_type) not in self.casts:
            name = f"{value.name}.{data_type.name.lower()}"
            self.casts[value, data_type] = insert_cast(self.graph, value, data_type, name)
        return self.casts[value, data_type]
