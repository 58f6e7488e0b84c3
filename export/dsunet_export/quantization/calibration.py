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
from dsunet_export.precision.tensor_statistics import compute_statistics
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
    names = {str(value.name) for value in values}
    operators = ("ReduceMax", "ReduceMin", "ReduceL2", "Size")
    probes = [*only_computed, *images]
    statistics = compute_statistics(model, names, operators, probes, inputs, folder)
    ranges = {}
    for name, found in statistics.tensors.items():
        highest, lowest, norms, sizes = (found[op][len(only_computed) :] for op in operators)
        squares = sum(norm**2 for norm in norms)
        if not math.isfinite(squares):
            raise ExportError(
                f"{name} is not finite on one of the images, in float32: check the checkpoint "
                f"and --images; another precision cannot fix this"
            )
        largest = max(map(abs, (*highest, *lowest)))
        ranges[name] = ActivationRange(largest, math.sqrt(squares / sum(sizes)))
    return Calibration(ranges, statistics.logits)
