"""Postprocessing from logits to an 8-bit mask, as in the published code, and its statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from dsunet_runtime.artifact.manifest import STRETCH_EPSILON, MaskForm

MASK_THRESHOLD = 128
"""Threshold 0.5 in levels of 0 to 255: this level and higher ones are inside the object."""


@dataclass(frozen=True, slots=True)
class MaskStatistics:
    """Statistics of a mask."""

    height: int
    width: int
    mean: float
    """0 to 255."""
    maximum: int
    inside: float
    """Fraction of the pixels at or above 128."""

    @classmethod
    def of(cls, mask: NDArray[np.uint8]) -> Self:
        """Compute the statistics of a mask, uint8, H×W."""
        counts = np.bincount(mask.ravel(), minlength=256)
        height, width = mask.shape
        return cls(
            height,
            width,
            mean=float(counts @ np.arange(256)) / mask.size,
            maximum=int(counts.nonzero()[0][-1]),
            inside=float(counts[MASK_THRESHOLD:].sum()) / mask.size,
        )


def mask_from_logits(
    logits: NDArray[np.float32], size: tuple[int, int], form: MaskForm
) -> NDArray[np.uint8]:
    """Compute the mask of one image.

    Args:
        logits: float32, h×w.
        size: Height and width of the image.
        form: Conversion to 8 bits.

    Returns:
        uint8 array height×width, 0 to 255.
    """
    levels = sigmoid(resample_bilinear(logits, size))
    if form is MaskForm.STRETCHED:
        low, high = levels.min(), levels.max()
        levels -= low
        levels /= high - low + np.float32(STRETCH_EPSILON)
        levels *= 255
    else:
        levels *= 255
        levels += 0.5
    return levels.astype(np.uint8)


def highest_level(logits: NDArray[np.float32]) -> int:
    """Return the highest probability of logits, 0 to 255."""
    return int(255 * sigmoid(logits.max(keepdims=True)).item() + 0.5)


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sigmoid in float32, accurate also where the result is close to 0."""
    with np.errstate(over="ignore"):  # exp may overflow to inf; 1 / inf = 0 is right
        result: NDArray[np.float32] = np.exp(-logits)
    result += 1
    return np.reciprocal(result, out=result)


def resample_bilinear(values: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resample h×w to `size` (height, width): half-pixel centres, edges clamped, no antialiasing.

    Equal to PyTorch's `interpolate(mode="bilinear", align_corners=False)`.
    """
    height, width = size
    columns = _resample_rows(values.T, width)
    return _resample_rows(columns.T, height)


def _resample_rows(values: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    rows = values.shape[0]
    centres = np.clip((np.arange(count) + 0.5) * (rows / count) - 0.5, 0, rows - 1)
    lower = centres.astype(np.intp)
    upper = np.minimum(lower + 1, rows - 1)
    weight = (centres - lower).astype(np.float32)[:, None]
    # In place: for a large image each of these arrays takes 100 MB.
    result: NDArray[np.float32] = values[lower]
    result *= 1 - weight
    part = values[upper]
    part *= weight
    result += part
    return result
