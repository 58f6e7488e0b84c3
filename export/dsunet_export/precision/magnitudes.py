"""Measure the largest magnitudes of the tensors of a graph on sample images."""

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
    """The largest magnitude of each float tensor: measured for activations, exact for weights."""

    def __init__(self, measured: dict[str, Peak]) -> None:
        self._peaks = measured

    def peaks(self, value: ir.Value) -> list[Peak]:
        """Return the peaks of the tensors from which a value takes its elements."""
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
    """Run a float32 graph on images and measure the largest magnitudes of `values`.

    Also returns the logits S×S for each image.  The model is not changed; a temporary copy is
    written to `folder`.  Raises ExportError if one of the values or logits is not finite.
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
    """Raise ExportError with the first tensor, in graph order, that is not finite."""
    for name, outputs in {**tensors, "the logits": ["logits"]}.items():
        if not all(np.isfinite(result[output]).all() for output in outputs):
            raise ExportError(
                f"{name} is not finite on {probe.label}, in float32: check the checkpoint and that "
                f"image; another precision cannot fix this"
            )


def sources(value: ir.Value) -> set[ir.Value]:
    """Return the tensors from which a value takes its elements: activations, inputs or weights."""
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
    """Add maximum, minimum and sum of the named activations as outputs.

    The sum shows NaN, which ONNX Runtime's ReduceMax and ReduceMin ignore.
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
        raise ExportError(f"the weight {value.name} contains NaN: check the checkpoint")
    return largest
