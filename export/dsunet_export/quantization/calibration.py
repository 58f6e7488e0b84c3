"""Measure the ranges of activations on sample images, for quantisation."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from dsunet_export.precision.tensor_statistics import (
    TensorStatistics,
    check_finite,
    compute_statistics,
)
from dsunet_export.probes import GraphInputs, Probe

LEVELS = 127
"""Positive steps of a symmetric 8-bit integer."""
_OPERATORS = ("ReduceMax", "ReduceMin", "ReduceL2", "Size")


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


def calibrate(
    model: ir.Model,
    values: Collection[ir.Value],
    images: Sequence[Probe],
    inputs: GraphInputs,
    folder: Path,
) -> TensorStatistics:
    """Run a float32 graph on images and compute the statistics of `values` for `ranges_of`.

    The model is not changed; a temporary copy is written to `folder`.  Raises ExportError if one of
    the values or logits is not finite.
    """
    names = {str(value.name) for value in values}
    statistics = compute_statistics(model, names, _OPERATORS, images, inputs, folder)
    check_finite(statistics)
    return statistics


def ranges_of(statistics: TensorStatistics, images: Collection[str]) -> dict[str, ActivationRange]:
    """Return the range of each tensor, by name, over the images with these labels."""
    chosen = [index for index, image in enumerate(statistics.images) if image in images]
    ranges = {}
    for name, found in statistics.tensors.items():
        highest, lowest, norms, sizes = ([found[op][i] for i in chosen] for op in _OPERATORS)
        squares = sum(norm**2 for norm in norms)
        largest = max(map(abs, (*highest, *lowest)))
        ranges[name] = ActivationRange(largest, math.sqrt(squares / sum(sizes)))
    return ranges
