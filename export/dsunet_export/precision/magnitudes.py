"""How large the values of a graph become on given images."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from dsunet_export.precision.narrowing import array_of
from dsunet_export.precision.running import compute_logits
from dsunet_export.precision.types import SELECTS, is_float
from dsunet_export.probes import GraphInputs, Probe
from dsunet_runtime.manifest import Peak


class Magnitudes:
    """The largest magnitude of each float tensor, those of weights exactly."""

    def __init__(self, measured: dict[str, Peak]) -> None:
        self._peaks = measured

    def peaks(self, value: ir.Value) -> list[Peak]:
        """Those of the tensors that the value's numbers come from, all of one or parts of some."""
        return [self._peak(source) for source in sources(value)]

    def _peak(self, source: ir.Value) -> Peak:
        name = str(source.name)
        if name not in self._peaks:
            self._peaks[name] = Peak(name, _largest_weight(source), "weights")
        return self._peaks[name]


def measure(
    model: ir.Model,
    values: Collection[ir.Value],
    probes: Sequence[Probe],
    inputs: GraphInputs,
    folder: Path,
) -> tuple[Magnitudes, list[NDArray[np.float32]]]:
    """Run a float32 graph on images, in one session, and note how large the values become.

    Gives the graph's logits S×S for each image as well.  The model stays as it is; `folder` holds a
    copy of it meanwhile.
    """
    wanted = {str(source.name) for value in values for source in sources(value)}
    instrumented = model.clone()
    tensors = _add_extremes(instrumented.graph, wanted)
    results = compute_logits(instrumented, map(inputs.prepare, probes), folder)
    peaks = {}
    for name, outputs in tensors.items():
        found = [max(abs(float(result[output])) for output in outputs) for result in results]
        worst = int(np.argmax(found))
        peaks[name] = Peak(name, found[worst], probes[worst].label)
    return Magnitudes(peaks), [result["logits"][0, 0] for result in results]


def sources(value: ir.Value) -> set[ir.Value]:
    """The tensors whose numbers a value is made of: those that are computed, inputs and weights."""
    found, open_ends, seen = set[ir.Value](), [value], set[ir.Value]()
    while open_ends:
        current = open_ends.pop()
        if current in seen:
            continue
        seen.add(current)
        producer = current.producer()
        if producer is None or producer.op_type not in SELECTS:
            found.add(current)
        else:
            open_ends.extend(filter(is_float, producer.inputs))
    return found


def _add_extremes(graph: ir.Graph, names: set[str]) -> dict[str, list[str]]:
    """Two more outputs for each tensor named that is no weight: its maximum and its minimum."""
    computed = [output for node in graph for output in node.outputs]
    tensors = {}
    for value in (*graph.inputs, *computed):
        if value.name not in names:
            continue
        nodes = [
            ir.node(op_type, [value], {"keepdims": 0}, name=f"{value.name}.{op_type}")
            for op_type in ("ReduceMax", "ReduceMin")
        ]
        producer = value.producer()
        if producer is None:
            graph.insert_before(graph[0], nodes)
        else:
            graph.insert_after(producer, nodes)
        for node in nodes:
            output = node.outputs[0]
            output.name, output.dtype, output.shape = node.name, ir.DataType.FLOAT, ir.Shape([])
            graph.outputs.append(output)
        tensors[str(value.name)] = [str(node.name) for node in nodes]
    return tensors


def _largest_weight(value: ir.Value) -> float:
    array = array_of(value)
    return float(max(array.max(initial=0), -array.min(initial=0)))
