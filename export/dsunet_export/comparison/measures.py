"""Measure the difference of two tensors and of two masks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsunet.evaluation.metrics import score_image

MASK_THRESHOLD = 127.5
"""Threshold 0.5 in levels of 0 to 255: higher levels are inside the object."""
NEAR = 8
"""Distance from the threshold, in levels, within which a crossing counts as a flip."""
_SMALLEST = 1e-3
"""Lower bound of the denominator of relative differences, in standard deviations of A."""

_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True)
class TensorDifference:
    """Difference of B from A."""

    largest: float
    mean: float
    largest_relative: float
    """Largest difference divided by the magnitude of A at the same place."""
    mean_relative: float
    cosine: float
    """Cosine similarity: 1 where the two differ only by a factor."""


@dataclass(frozen=True, slots=True)
class MaskDifference:
    """Difference of the mask of B from that of A."""

    largest: float
    """Largest difference, in levels of 0 to 255."""
    mean: float
    """Mean difference, in levels of 0 to 255."""
    iou: float
    """Intersection over union at threshold 0.5."""
    flips: float
    """Fraction of the pixels that cross threshold 0.5 and are within `NEAR` of it in both."""
    disagreement: float
    """Fraction of the pixels that cross threshold 0.5 and are farther from it."""
    s_measure: float | None
    """S-measure of B with A as ground truth, both binarised at 0.5; None where undefined."""


def compare_tensors(a: NDArray[Any], b: NDArray[Any]) -> TensorDifference:
    """Compare two arrays of one shape, in float64."""
    first, second = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    differences = np.abs(second - first)
    floor = max(_SMALLEST * float(first.std()), _TINY)
    relative = differences / np.maximum(np.abs(first), floor)
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    return TensorDifference(
        largest=float(differences.max()),
        mean=float(differences.mean()),
        largest_relative=float(relative.max()),
        mean_relative=float(relative.mean()),
        cosine=float(first @ second) / lengths if lengths else float(np.array_equal(first, second)),
    )


def compare_masks(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> MaskDifference:
    """Compare two masks H×W with levels 0 to 255."""
    first, second = a.astype(np.int16), b.astype(np.int16)
    differences = np.abs(second - first)
    inside, found = first > MASK_THRESHOLD, second > MASK_THRESHOLD
    near = (np.abs(first - MASK_THRESHOLD) <= NEAR) & (np.abs(second - MASK_THRESHOLD) <= NEAR)
    crossing = inside != found
    union = np.count_nonzero(inside | found)
    ground_truth, prediction = (np.where(mask, 255, 0).astype(np.uint8) for mask in (inside, found))
    s_measure = score_image(prediction, ground_truth).s_measure
    return MaskDifference(
        largest=float(differences.max()),
        mean=float(differences.mean()),
        iou=float(np.count_nonzero(inside & found) / union) if union else 1.0,
        flips=float((crossing & near).mean()),
        disagreement=float((crossing & ~near).mean()),
        s_measure=None if math.isnan(s_measure) else s_measure,
    )
