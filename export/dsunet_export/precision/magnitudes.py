"""How large the values of a graph become on given images."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from dsunet_export.errors import ExportError
from dsunet_export.precision.narrow import array_of, insert_where_made
from dsunet_export.precision.session import compute_logits
from dsunet_export.precision.types import SELECTS, is_float
from dsunet_export.probes import GraphInputs, Probe
from dsunet_runtime.backends import Tensors
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
    copy of it meanwhile.  Raises ExportError if one of the values, or the logits, is not finite.
    """
    wanted = {str(source.name) for value in values for source in sources(value)}
    instrumented = model.clone()
    tensors = _add_extremes(instrumented.graph, wanted)
    results = compute_logits(instrumented, map(inputs.prepare, probes), folder)
    for probe, result in zip(probes, results, strict=True):
        _check_finite(tensors, result, probe)
    peaks = {}
    for name, outputs in tensors.items():
        found = [max(abs(float(result[o])) for o in outputs[:2]) for result in results]
        worst = int(np.argmax(found))
        peaks[name] = Peak(name, found[worst], probes[worst].label)
    return Magnitudes(peaks), [result["logits"][0, 0] for result in results]


def _check_finite(tensors: dict[str, list[str]], result: Tensors, probe: Probe) -> None:
    """Raise ExportError that names the first tensor that is not finite, in the graph's order."""
    for name, outputs in {**tensors, "the logits": ["logits"]}.items():
        if not all(np.isfinite(result[output]).all() for output in outputs):
            raise ExportError(
                f"in float32 already, {name} is not finite on {probe.label}: no other precision "
                f"mends that; check the checkpoint, and that image"
            )


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
    """Three more outputs for each tensor named that is no weight: its maximum, its minimum and its
    sum, which shows NaN; ONNX Runtime's maximum and minimum pass over it.
    """
    computed = [output for node in graph for output in node.outputs]
    tensors = {}
    for value in (*graph.inputs, *computed):
        if value.name not in names:
            continue
        nodes = [
            ir.node(op_type, [value], {"keepdims": 0}, name=f"{value.name}.{op_type}")
            for op_type in ("ReduceMax", "ReduceMin", "ReduceSum")
        ]
        insert_where_made(graph, value, nodes)
        for node in nodes:
            output = node.outputs[0]
            output.name, output.dtype, output.shape = node.name, ir.DataType.FLOAT, ir.Shape([])
            graph.outputs.append(output)
        tensors[str(value.name)] = [str(node.name) for node in nodes]
    return tensors


def _largest_weight(value: ir.Value) -> float:
    largest = float(np.abs(array_of(value)).max(initial=0))
    if math.isnan(largest):
        raise ExportError(f"the weight {value.name} has values that are no numbers: check the file")
    return largest
