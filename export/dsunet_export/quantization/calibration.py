"""Measure the ranges of activations on sample images, for quantisation."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from dsunet_export.errors import ExportError
from dsunet_export.precision.narrow import insert_where_made
from dsunet_export.precision.session import compute_logits
from dsunet_export.probes import GraphInputs, Probe

LEVELS = 127
"""Positive steps of a symmetric 8-bit integer."""


@dataclass(frozen=True, slots=True)
class ActivationRange:
    """Range of a tensor over all sample images."""

    largest: float
    """Largest magnitude."""
    rms: float
    """Root mean square."""

    @property
    def noise(self) -> float:
        """RMS of the 8-bit rounding error, as a fraction of the RMS of the tensor."""
        return self.largest / LEVELS / math.sqrt(12) / self.rms if self.rms else 0.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a float32 graph computed on the images."""

    ranges: dict[str, ActivationRange]
    """Range on the calibration images, by name of the tensor."""
    logits: list[NDArray[np.float32]]
    """S×S for each image: first those of `only_computed`, then the calibration images."""


def calibrate(
    model: ir.Model,
    values: Collection[ir.Value],
    only_computed: Sequence[Probe],
    images: Sequence[Probe],
    inputs: GraphInputs,
    folder: Path,
) -> Calibration:
    """Run a float32 graph on images and measure the ranges of `values`.

    `images` are the calibration images; on `only_computed` the graph runs too, for its logits.  The
    model is not changed; a temporary copy is written to `folder`.  Raises ExportError if one of the
    values is not finite.
    """
    measured = model.clone()
    outputs = _add_statistics(measured.graph, {str(value.name) for value in values})
    probes = [*only_computed, *images]
    results = compute_logits(measured, map(inputs.prepare, probes), folder)
    counted = results[len(only_computed) :]
    ranges = {}
    for name, (maximum, minimum, norm, size) in outputs.items():
        extremes = [abs(float(r[o])) for r in counted for o in (maximum, minimum)]
        squares = sum(float(r[norm]) ** 2 for r in counted)
        ranges[name] = ActivationRange(
            max(extremes), math.sqrt(squares / sum(int(r[size]) for r in counted))
        )
        if not math.isfinite(squares):
            raise ExportError(
                f"{name} is not finite on one of the images, in float32: check the checkpoint "
                f"and --images; another precision cannot fix this"
            )
    return Calibration(ranges, [result["logits"][0, 0] for result in results])


def _add_statistics(graph: ir.Graph, names: set[str]) -> dict[str, tuple[str, str, str, str]]:
    """Add maximum, minimum, Euclidean norm and size of the named tensors as outputs."""
    computed = [output for node in graph for output in node.outputs]
    tensors = {}
    for value in (*graph.inputs, *computed):
        if value.name not in names:
            continue
        added = {}
        for op_type in ("ReduceMax", "ReduceMin", "ReduceL2", "Size"):
            attributes = {} if op_type == "Size" else {"keepdims": 0}
            node = ir.node(op_type, [value], attributes, name=f"{value.name}.{op_type}")
            output = node.outputs[0]
            output.name, output.shape = node.name, ir.Shape([])
            output.dtype = ir.DataType.INT64 if op_type == "Size" else ir.DataType.FLOAT
            added[op_type] = node
        insert_where_made(graph, value, list(added.values()))
        graph.outputs.extend(node.outputs[0] for node in added.values())
        maximum, minimum, norm, size = (str(node.name) for node in added.values())
        tensors[str(value.name)] = (maximum, minimum, norm, size)
    return tensors
