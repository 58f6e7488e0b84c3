"""Image and mask files, as what they mean; what cannot be read rightly is refused.

A mask is grey, 0 outside and 255 inside, and above 128 counts as inside.  Grey of 8 bits is taken
as it is, 1 bit as 0 and 255, of 16 bits the high byte.  Palettes are looked up.  Colour files are
taken if all their pixels are grey, and an alpha channel if all of it is opaque.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dsunet.errors import DataError
from dsunet_runtime.errors import ImageError
from dsunet_runtime.images import Decoded, decode

LAST_OUTSIDE = 128
"""The highest value of a mask that is outside."""
LAST_LABEL = 20
"""The highest value that is taken for a label: there are 20 in Pascal VOC.  The faintest of a soft
mask that averages annotators is 21 (one of twelve, in PASCAL-S)."""

_REMEDY = "save it as grey, 0 outside and 255 inside"
_GREY_SPREAD = 8  # a JPEG file of grey pixels decodes to almost equal channels
_VOID = 255
_LEAST_OF_LABELS = 0.05  # of what is not 0; stray pixels are fewer
_LISTED = 6


def read_image(path: Path) -> NDArray[np.uint8]:
    """An image H×W×3, RGB, upright.  Raises DataError if it cannot be read."""
    return decode_file(path).rgb


def read_mask(path: Path) -> NDArray[np.uint8]:
    """A mask H×W, uint8: 0 is outside, 255 inside.

    Raises DataError for what cannot be read, and where the meaning would be a guess: coloured or
    transparent pixels, and labels, such as 0, 1 and 2, instead of levels.  An empty mask, of zeros
    only, is a mask.
    """
    return mask_of(path, decode_file(path))


def read_prediction(path: Path) -> NDArray[np.uint8]:
    """A predicted mask H×W, 0 to 255, which the metrics stretch, so that any levels will do.

    Raises DataError as `read_mask`, but not for labels, which one prediction alone does not tell.
    """
    return levels_of(path, decode_file(path))


def decode_file(path: Path) -> Decoded:
    """An image file.  Raises DataError if it cannot be read."""
    try:
        return decode(path)
    except ImageError as error:
        raise DataError(f"{path}: {error}") from error


def mask_of(path: Path, decoded: Decoded) -> NDArray[np.uint8]:
    """`read_mask` of a file that was decoded."""
    levels = levels_of(path, decoded)
    if reason := _label_reason(Image.fromarray(levels).histogram()):
        raise DataError(f"{path}: {reason}: {_REMEDY}")
    return levels


def levels_of(path: Path, decoded: Decoded) -> NDArray[np.uint8]:
    """`read_prediction` of a file that was decoded."""
    if decoded.is_transparent:
        raise DataError(
            f"{path}: has transparent pixels, and whether colour or transparency is the mask is "
            f"not known: {_REMEDY}"
        )
    if decoded.is_grey:
        return np.ascontiguousarray(decoded.rgb[:, :, 0])
    if _spread(decoded.rgb) > _GREY_SPREAD:
        raise DataError(
            f"{path}: has coloured pixels, and which colours are inside is not known: {_REMEDY}"
        )
    return np.asarray(Image.fromarray(decoded.rgb).convert("L"))


def _spread(rgb: NDArray[np.uint8]) -> int:
    """How far the channels of a pixel lie apart at most."""
    red, green, blue = (rgb[:, :, channel] for channel in range(3))
    highest = np.maximum(np.maximum(red, green), blue)
    return int((highest - np.minimum(np.minimum(red, green), blue)).max())


def _label_reason(counts: Sequence[int]) -> str | None:
    """Why a mask is none of levels, by how often each of the 256 values occurs; None if it is."""
    values = [value for value, count in enumerate(counts) if count]
    if 0 < values[-1] <= LAST_OUTSIDE:
        return f"{_in_words(values)}, and nothing above {LAST_OUTSIDE} is read as an empty mask"
    labels = sum(counts[1 : LAST_LABEL + 1])
    between = sum(counts[LAST_LABEL + 1 : _VOID])
    if not between and labels > _LEAST_OF_LABELS * (labels + counts[_VOID]):
        return f"{_in_words(values)}, as of labels with a border to ignore"
    return None


def _in_words(values: Sequence[int]) -> str:
    if len(values) > _LISTED:
        return f"its values are {values[0]} to {values[-1]}"
    *others, last = map(str, values)
    return f"its values are {', '.join(others)} and {last}" if others else f"all of it is {last}"
