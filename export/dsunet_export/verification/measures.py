"""Measures of the difference of two outputs.  `tolerances` limits them.

There are two IoUs at 0.5.  That of masks is of levels from 128, as their users see them; in a
stretched mask that is not probability 0.5.  That of logits is of probability 0.5 whatever becomes
of the mask, and verification of an export uses it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dsunet_runtime.masks.mask_from_logits import MASK_THRESHOLD

NEAR = 8
"""Distance from the threshold, in levels, within which a crossing counts as a flip."""
LEAST_FRACTION = 0.01
"""Fraction of the logits that must lie on either side of zero for an IoU to be computed: for a mask
of a few pixels it has no meaning."""
_SMALLEST = 1e-3
"""Lower bound of the denominator of relative differences, in standard deviations of A."""
_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True)
class AbsoluteErrors:
    """Absolute differences of two arrays."""

    max: float
    p999: float
    """Difference that 99.9 % of the values do not exceed."""
    mean: float

    @classmethod
    def of(cls, a: NDArray[Any], b: NDArray[Any], unit: float = 1.0) -> Self:
        """Compare two arrays of one shape, in a unit."""
        wide = np.int16 if a.dtype == np.uint8 else np.float64
        errors = np.abs(b.astype(wide) - a) / unit
        return cls(float(errors.max()), float(np.quantile(errors, 0.999)), float(errors.mean()))


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
    """Compare two masks H×W with levels 0 to 255.  Needs the extra `evaluate`."""
    from dsunet.evaluation.metrics import score_image

    errors = AbsoluteErrors.of(a, b)
    inside, found = a >= MASK_THRESHOLD, b >= MASK_THRESHOLD
    distances = (np.abs(mask - (MASK_THRESHOLD - 0.5)) for mask in (a, b))
    near = np.maximum(*distances) <= NEAR
    crossing = inside != found
    ground_truth, prediction = (np.where(mask, 255, 0).astype(np.uint8) for mask in (inside, found))
    s_measure = score_image(prediction, ground_truth).s_measure
    return MaskDifference(
        largest=errors.max,
        mean=errors.mean,
        iou=overlap(inside, found),
        flips=float((crossing & near).mean()),
        disagreement=float((crossing & ~near).mean()),
        s_measure=None if math.isnan(s_measure) else s_measure,
    )


def overlap(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Return the intersection over union of two regions; 1 if both are empty."""
    union = np.count_nonzero(a | b)
    return float(np.count_nonzero(a & b) / union) if union else 1.0


def logit_overlap(
    reference: NDArray[np.float32], logits: NDArray[np.float32], *, or_median: bool
) -> float | None:
    """Return the IoU at probability 0.5 of two maps of logits.

    If less than `LEAST_FRACTION` of the reference lies on one side of 0.5, returns None; with
    `or_median`, for random weights, uses the median of the reference as the threshold instead.
    """
    fraction, threshold = float((reference > 0).mean()), 0.0
    if not LEAST_FRACTION <= fraction <= 1 - LEAST_FRACTION:
        if not or_median:
            return None
        threshold = float(np.median(reference))
    return overlap(reference > threshold, logits > threshold)
