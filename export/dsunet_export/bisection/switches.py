"""Build a float32 graph in which the rounding of each group of nodes can be switched on and off.

A boolean input per group switches its rounding, so one session can try every set of layers to keep,
instead of a conversion for each.  Rounding applies where conversion (`precision.narrow`) rounds: to
the inputs and weights that a node reads, and to its result; or where quantisation does, to the
activation and the weight of a matmul.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from dsunet_export.bisection.groups import Group
from dsunet_export.graph.session import GraphSession, find_logits
from dsunet_export.graph.values import is_float
from dsunet_export.precision.magnitudes import sources
from dsunet_export.precision.types import MOVES_VALUES, variable_type_inputs
from dsunet_export.probes import GraphInputs, Probe
from dsunet_export.quantization.quantized_matmuls import QuantizedMatmul
from dsunet_runtime.backends.interface import Tensors
from dsunet_runtime.closeable import Closeable

_PREFIX = "keep:"


class Switchboard(Closeable):
    """A loaded graph with a rounding switch for each of its groups.

    The model, to which the switches were added, is changed in place, and a temporary file is
    written to `folder`.
    """

    def __init__(
        self, model: ir.Model, groups: Collection[Group], inputs: GraphInputs, folder: Path
    ) -> None:
        self._inputs = inputs
        self.groups = groups
        logits = find_logits(model.graph)
        if logits not in model.graph.outputs:
            model.graph.outputs.append(logits)
        self._logits = str(logits.name)
        self._session = GraphSession(model, folder)

    def run(self, probe: Probe, kept: Collection[Group]) -> Tensors:
        """Compute the outputs for one image without rounding in these groups; adds `logits`."""
        switches: Tensors = {_PREFIX + group.path: np.array(group in kept) for group in self.groups}
        outputs = self._session.run(
            {**self._inputs.prepare(probe), **switches}, self._session.outputs
        )
        return {**outputs, "logits": outputs[self._logits]}

    def close(self) -> None:
        self._session.close()


def add_switches(model: ir.Model, groups: Mapping[str, Group], data_type: ir.DataType) -> None:
    """Make nodes round to a type unless the input `keep:GROUP` of their group is true.

    `groups` maps names of nodes to groups; other nodes never round.
    """
    graph, opset = model.graph, model.opset_imports[""]
    switches = _add_inputs(graph, groups.values())
    switched: dict[tuple[ir.Value, Group], ir.Value] = {}
    rounded_by: dict[ir.Value, Group] = {}

    def switch(value: ir.Value, group: Group, before: ir.Node) -> ir.Value:
        """Insert the switched rounding of a value before a node."""
        name = f"{value.name}.{group.path}"
        narrow = ir.node("Cast", [value], {"to": int(data_type)}, name=f"{name}.narrow")
        wide = ir.node("Cast", [narrow.outputs[0]], {"to": 1}, name=f"{name}.wide")
        chosen = ir.node("Where", [switches[group], value, wide.outputs[0]], name=name)
        types = (data_type, ir.DataType.FLOAT, ir.DataType.FLOAT)
        for node, dtype in zip((narrow, wide, chosen), types, strict=True):
            result = node.outputs[0]
            result.name, result.dtype, result.shape = node.name, dtype, value.shape
        graph.insert_before(before, [narrow, wide, chosen])
        rounded_by[chosen.outputs[0]] = group
        return chosen.outputs[0]

    nodes = list(graph)
    following = dict(zip(nodes, [*nodes[1:], None], strict=True))
    for node in nodes:
        group = groups.get(str(node.name))
        if group is None or node.op_type in MOVES_VALUES:
            continue
        for index in list(variable_type_inputs(node, opset)):
            value = node.inputs[index]
            if not is_float(value) or {rounded_by.get(v) for v in sources(value)} == {group}:
                continue
            if (value, group) not in switched:
                switched[value, group] = switch(value, group, node)
            node.replace_input_with(index, switched[value, group])
        after = following[node]
        for value in filter(is_float, node.outputs):
            uses = list(value.uses())
            if after is not None and uses:
                result = switch(value, group, after)
                for use in uses:
                    use.node.replace_input_with(use.idx, result)


def add_quantization_switches(
    model: ir.Model, groups: Mapping[str, Group], matmuls: Mapping[str, QuantizedMatmul]
) -> None:
    """Make matmuls of the graph read what quantisation rounds, unless their group is kept.

    Both mappings have the names of the matmuls; the others are left as they are.
    """
    graph = model.graph
    switches = _add_inputs(graph, groups.values())
    for node in [node for node in graph if node.name in matmuls]:
        matmul, keep = matmuls[str(node.name)], switches[groups[str(node.name)]]
        scale = _constant(graph, f"{node.name}.scale", matmul.scale)
        zero_point = _constant(graph, f"{node.name}.zero_point", matmul.zero_point)
        weight = _constant(graph, f"{node.name}.weight", matmul.weight)
        quantize = ir.node("QuantizeLinear", [node.inputs[0], scale, zero_point])
        dequantize = ir.node("DequantizeLinear", [quantize.outputs[0], scale, zero_point])
        read = ir.node("Where", [keep, node.inputs[0], dequantize.outputs[0]])
        read_weight = ir.node("Where", [keep, node.inputs[1], weight])
        for new in (quantize, dequantize, read):
            new.name = new.outputs[0].name = f"{node.name}.{new.op_type}"
        read_weight.name = read_weight.outputs[0].name = f"{node.name}.weight.Where"
        graph.insert_before(node, [quantize, dequantize, read, read_weight])
        node.replace_input_with(0, read.outputs[0])
        node.replace_input_with(1, read_weight.outputs[0])


def _constant(graph: ir.Graph, name: str, array: NDArray[Any]) -> ir.Value:
    value = ir.val(name, const_value=ir.tensor(array))
    graph.register_initializer(value)
    return value


def _add_inputs(graph: ir.Graph, groups: Iterable[Group]) -> dict[Group, ir.Value]:
    """Add the boolean input of each group."""
    switches = {
        each: ir.val(_PREFIX + each.path, ir.DataType.BOOL, ir.Shape([]))
        for each in dict.fromkeys(groups)
    }
    graph.inputs.extend(switches.values())
    return switches
