"""Measure the largest magnitudes of the tensors of a graph on sample images."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from dsunet_export.errors import ExportError
from dsunet_export.graph.values import array_of, is_float
from dsunet_export.precision.tensor_statistics import check_finite, compute_statistics
from dsunet_export.precision.types import MOVES_VALUES
from dsunet_export.probes import GraphInputs, Probe
from dsunet_runtime.artifact.manifest import Peak


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


def measure_magnitudes(
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
    names = {str(source.name) for value in values for source in sources(value)}
    operators = ("ReduceMax", "ReduceMin", "ReduceSum")  # the sum shows NaN
    statistics = compute_statistics(model, names, operators, probes, inputs, folder)
    check_finite(statistics)
    peaks = {}
    for name, found in statistics.tensors.items():
        extremes = zip(found["ReduceMax"], found["ReduceMin"], strict=True)
        magnitudes = [max(abs(highest), abs(lowest)) for highest, lowest in extremes]
        worst = int(np.argmax(magnitudes))
        peaks[name] = Peak(name, magnitudes[worst], probes[worst].label)
    return Magnitudes(peaks), statistics.logits


def sources(value: ir.Value) -> set[ir.Value]:
    """Return the tensors from which a value takes its elements: activations, inputs or weights."""
    found, open_ends, seen = set[ir.Value](), [value], set[ir.Value]()
    while open_ends:
        current = open_ends.pop()
        if current in seen:
            continue
        seen.add(current)
        producer = current.producer()
        if producer is None or producer.op_type not in MOVES_VALUES:
            found.add(current)
        else:
            open_ends.extend(filter(is_float, producer.inputs))
    return found


def _largest_weight(value: ir.Value) -> float:
    largest = float(np.abs(array_of(value)).max(initial=0))
    if math.isnan(largest):
        raise ExportError(f"the weight {value.name} contains NaN: check the checkpoint")
    return largest
