"""How far two tensors, and two masks, are apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsunet.evaluation.metrics import score_image

MASK_THRESHOLD = 127.5
"""Between the levels of a mask that are outside and those that are inside."""
NEAR = 8
"""Levels from there within which a pixel may change sides without having changed its mind."""
_SMALLEST = 1e-3
"""Of A's standard deviation: what is smaller counts as that large in relative differences."""

_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True)
class TensorDifference:
    """Of B from A."""

    largest: float
    mean: float
    largest_relative: float
    """Each difference as a share of A's own magnitude there."""
    mean_relative: float
    cosine: float
    """Of the angle between the two as vectors: 1 where they only differ in length."""


@dataclass(frozen=True, slots=True)
class MaskDifference:
    """Of B's mask from A's."""

    largest: float
    """In levels of 255."""
    mean: float
    """Likewise."""
    iou_at_half: float
    flips: float
    """Share of the pixels that are on other sides of half, but within `NEAR` of it in both."""
    disagreement: float
    """Share of those on other sides that are not."""
    s_measure: float | None
    """Of B as if A were the truth, both cut at half: 1 for the same; None where it is undefined."""


def compare_tensors(a: NDArray[Any], b: NDArray[Any]) -> TensorDifference:
    """Two arrays of one shape; computed in float64."""
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
    """Two masks H×W, 0 to 255."""
    first, second = a.astype(np.int16), b.astype(np.int16)
    differences = np.abs(second - first)
    inside, found = first > MASK_THRESHOLD, second > MASK_THRESHOLD
    near = (np.abs(first - MASK_THRESHOLD) <= NEAR) & (np.abs(second - MASK_THRESHOLD) <= NEAR)
    other_side = inside != found
    union = np.count_nonzero(inside | found)
    truth, cut = (np.where(mask, 255, 0).astype(np.uint8) for mask in (inside, found))
    s_measure = score_image(cut, truth).s_measure
    return MaskDifference(
        largest=float(differences.max()),
        mean=float(differences.mean()),
        iou_at_half=float(np.count_nonzero(inside & found) / union) if union else 1.0,
        flips=float((other_side & near).mean()),
        disagreement=float((other_side & ~near).mean()),
        s_measure=None if math.isnan(s_measure) else s_measure,
    )
