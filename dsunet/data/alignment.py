"""Alignment of a mask with its image, by their sizes and EXIF orientations."""

from __future__ import annotations

import enum

import numpy as np
from numpy.typing import NDArray

from dsunet_runtime.images.decode import ImageHeader, is_sideways

_SIDES = 0.90
"""Minimum ratio of the sides of a mask and its image, in either direction.  Of the 77 masks of NC4K
that differ from their images, most inspected ones differ by 1 to 5 pixels, and one by 9 %."""
_PROPORTIONS = 0.95
"""Minimum ratio of their aspect ratios."""


class Alignment(enum.Enum):
    """How a mask matches its image, or a prediction its ground truth."""

    SAME = enum.auto()
    """Both have the same size."""
    CLOSE = enum.auto()
    """The sizes differ by a few pixels; both are taken to cover the same area."""
    DIFFERENT = enum.auto()
    """The sizes differ by more than that."""
    ROTATED = enum.auto()
    """EXIF rotates one of them by 90°, and their sizes show that this is wrong."""
    UNCLEAR = enum.auto()
    """EXIF rotates one of them, and their sizes do not show whether this is right."""


def align(image: ImageHeader, mask: ImageHeader) -> Alignment:
    """Compare an image and its mask, or a prediction and its ground truth, by their headers."""
    is_same = image.shape == mask.shape
    if image.orientation == mask.orientation:
        if is_same:
            return Alignment.SAME
        return Alignment.CLOSE if is_close(image.shape, mask.shape) else Alignment.DIFFERENT
    is_square = image.shape[0] == image.shape[1]
    if is_sideways(image.orientation) == is_sideways(mask.orientation) or is_square:
        return Alignment.UNCLEAR if is_same else Alignment.DIFFERENT
    if is_same:
        return Alignment.SAME
    return Alignment.ROTATED if image.shape == mask.shape[::-1] else Alignment.DIFFERENT


def is_close(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether two sizes (height, width) differ by a few pixels only.

    Sides may differ by 10 %, aspect ratios by 5 %.
    """
    down, across = shape[0] / other[0], shape[1] / other[1]
    return (
        min(down, 1 / down, across, 1 / across) >= _SIDES
        and min(down / across, across / down) >= _PROPORTIONS
    )


def resampled_mask(mask: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Resample a predicted mask to `shape` (height, width) with OpenCV's bilinear filter.

    PySODEvalToolkit does the same for masks that differ in size from their ground truth.
    """
    if mask.shape == shape:
        return mask
    import cv2

    height, width = shape
    resampled = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resampled, np.uint8)
