"""From logits to an 8-bit mask, as the paper's published code does it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dsunet_runtime.manifest import STRETCH_EPSILON, MaskForm


def mask_from_logits(
    logits: NDArray[np.float32], size: tuple[int, int], form: MaskForm
) -> NDArray[np.uint8]:
    """The mask of one image.

    `logits` is h×w, `size` the image's (height, width); the result is height×width, 0 to 255.
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


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of any shape, in float32; exact to rounding also where the result is close to 0."""
    with np.errstate(over="ignore"):  # exp of a large number is inf, and 1 / inf is right
        result: NDArray[np.float32] = np.exp(-logits)
    result += 1
    return np.reciprocal(result, out=result)


def resample_bilinear(values: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """h×w to `size` = (height, width): half-pixel centres, clamped at the edge, no antialiasing.

    The same as PyTorch's `interpolate(mode="bilinear", align_corners=False)`.
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
    # In place, because for a large photograph each of these arrays is a hundred megabytes.
    result: NDArray[np.float32] = values[lower]
    result *= 1 - weight
    part = values[upper]
    part *= weight
    result += part
    return result
