"""Whether a mask lies on its image as it should: by their sizes, and by how EXIF turns them."""

from __future__ import annotations

import enum

import numpy as np
from numpy.typing import NDArray

from dsunet_runtime.images import Header, is_sideways

_SIDES = 0.90
"""The least ratio of a mask's sides to those of what it belongs to, or the other way round.  Of
NC4K's 77 masks that differ, those that were looked at do by one to five pixels, and one by 9 %."""
_PROPORTIONS = 0.95
"""The least ratio of their proportions."""


class Alignment(enum.Enum):
    """How a mask fits what it belongs to."""

    SAME = enum.auto()
    """Of one size."""
    CLOSE = enum.auto()
    """A little larger or smaller; taken to cover the same area."""
    UNLIKE = enum.auto()
    """Of another size."""
    TURNED = enum.auto()
    """EXIF turns one of them by a quarter, and their sizes show that it should not."""
    UNCLEAR = enum.auto()
    """EXIF turns one of them, and their sizes do not tell whether it should."""


def align(image: Header, mask: Header) -> Alignment:
    """How a mask fits an image or, if that is a prediction, a truth."""
    is_same = image.shape == mask.shape
    if image.orientation == mask.orientation:
        if is_same:
            return Alignment.SAME
        return Alignment.CLOSE if is_close(image.shape, mask.shape) else Alignment.UNLIKE
    is_square = image.shape[0] == image.shape[1]
    if is_sideways(image.orientation) == is_sideways(mask.orientation) or is_square:
        return Alignment.UNCLEAR if is_same else Alignment.UNLIKE
    if is_same:
        return Alignment.SAME
    return Alignment.TURNED if image.shape == mask.shape[::-1] else Alignment.UNLIKE


def is_close(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether two sizes, height and width, are the same but for a few pixels: sides within 10 %,
    proportions within 5 %.
    """
    down, across = shape[0] / other[0], shape[1] / other[1]
    return (
        min(down, 1 / down, across, 1 / across) >= _SIDES
        and min(down / across, across / down) >= _PROPORTIONS
    )


def resized(mask: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A predicted mask as height×width of `shape`: OpenCV's bilinear filter, as PySODEvalToolkit
    resamples what is not of its truth's size.
    """
    if mask.shape == shape:
        return mask
    import cv2

    height, width = shape
    resampled = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resampled, np.uint8)
