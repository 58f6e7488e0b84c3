"""Read image and mask files; files with an ambiguous meaning are refused.

A mask is grey: 0 outside the object and 255 inside, where values above 128 are inside.  8-bit grey
is used unchanged, 1-bit becomes 0 and 255, and of 16-bit the high byte is used.  Palettes are
resolved.  8-bit colour files are accepted if all pixels are grey, and alpha channels if all are
opaque.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dsunet.errors import DataError
from dsunet_runtime.errors import ImageError
from dsunet_runtime.images.decode import Decoded, decode_image

LAST_OUTSIDE = 128
"""Highest value of a mask that is outside the object."""
LAST_LABEL = 20
"""Highest value that is regarded as a class label: Pascal VOC has 20.  The lowest value of a soft
mask that averages annotators is 21 (one of twelve, in PASCAL-S)."""

_REMEDY = "save it as a grey image, 0 outside the object and 255 inside"
_MAX_GREY_DEVIATION = 8  # grey pixels of a JPEG file decode to almost equal channels
_VOID = 255
_MIN_LABEL_FRACTION = 0.05  # of the pixels that are not 0; stray pixels are fewer
_LISTED = 6


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image H×W×3, RGB, uint8, upright.  Raises DataError if it cannot be read."""
    return decode_file(path).rgb


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Read a mask H×W, uint8: 0 is outside the object, 255 inside.

    Raises DataError if the file cannot be read, or if its meaning is ambiguous: coloured or
    transparent pixels, or class labels such as 0, 1 and 2 instead of grey levels.  A mask of zeros
    only is valid.
    """
    return decoded_mask(path, decode_file(path))


def read_prediction(path: Path) -> NDArray[np.uint8]:
    """Read a predicted mask H×W, uint8, with any range of values, since the metrics stretch it.

    Raises DataError as `read_mask`, but not for class labels, which one prediction cannot show.
    """
    return decoded_levels(path, decode_file(path))


def decode_file(path: Path) -> Decoded:
    """Decode an image file.  Raises DataError if it cannot be read."""
    try:
        return decode_image(path)
    except ImageError as error:
        raise DataError(f"{path}: {error}") from error


def decoded_mask(path: Path, decoded: Decoded) -> NDArray[np.uint8]:
    """Return the mask of a decoded file; see `read_mask`."""
    levels = decoded_levels(path, decoded)
    if reason := _ambiguity(levels, decoded):
        raise DataError(f"{path}: {reason}: {_REMEDY}")
    return levels


def decoded_levels(path: Path, decoded: Decoded) -> NDArray[np.uint8]:
    """Return the grey levels of a decoded file; see `read_prediction`."""
    if decoded.is_transparent:
        raise DataError(
            f"{path}: has transparent pixels, so that colour or transparency may be the mask: "
            f"{_REMEDY}"
        )
    if decoded.is_grey:
        return np.ascontiguousarray(decoded.rgb[:, :, 0])
    if _channel_range(decoded.rgb) > _MAX_GREY_DEVIATION:
        raise DataError(f"{path}: has coloured pixels, which do not show what is inside: {_REMEDY}")
    return np.asarray(Image.fromarray(decoded.rgb).convert("L"))


def _channel_range(rgb: NDArray[np.uint8]) -> int:
    """Maximum difference between the channels of a pixel."""
    red, green, blue = (rgb[:, :, channel] for channel in range(3))
    highest = np.maximum(np.maximum(red, green), blue)
    return int((highest - np.minimum(np.minimum(red, green), blue)).max())


def _ambiguity(levels: NDArray[np.uint8], decoded: Decoded) -> str | None:
    """Why the levels of a decoded file may not be those of a mask; None if they are."""
    if decoded.stored is not None:
        return _label_reason(np.bincount(decoded.stored.ravel()).tolist(), decoded.bits)
    if decoded.bits > 8:
        return (
            f"has {decoded.bits} bits a channel, of which only 8 can be read, so labels may be lost"
        )
    return _label_reason(Image.fromarray(levels).histogram(), bits=8)


def _label_reason(counts: Sequence[int], bits: int) -> str | None:
    """Why a mask whose values of `bits` bits have this histogram holds no grey levels, or None.

    Of more than 8 bits only the high byte is read, which would lose labels.
    """
    step = 1 << (bits - 8)
    values = [value for value, count in enumerate(counts) if count]
    last_outside = (LAST_OUTSIDE + 1) * step - 1
    if 0 < values[-1] <= last_outside:
        described = _describe_values(values)
        return f"{described}, none above {last_outside}, so that the mask would be empty"
    low = [value for value in values if 0 < value < (LAST_LABEL + 1) * step]
    high = [value for value in values if value >= (LAST_LABEL + 1) * step]
    if not (low and high):
        return None
    is_border = high[0] >= _VOID * step
    if step > 1:  # the border is any value, and no grey level is as low as a label
        is_border |= len(high) == 1 or low[-1] <= LAST_LABEL
    labels = sum(counts[value] for value in low)
    if is_border and labels > _MIN_LABEL_FRACTION * (labels + sum(counts[v] for v in high)):
        return f"{_describe_values(values)}, as class labels with an ignored border have"
    return None


def _describe_values(values: Sequence[int]) -> str:
    if len(values) > _LISTED:
        return f"its values are {values[0]} to {values[-1]}"
    *others, last = map(str, values)
    return f"its values are {', '.join(others)} and {last}" if others else f"all of it is {last}"
