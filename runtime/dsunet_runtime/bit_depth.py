"""Conversion of pixels with more than 8 bits to 8-bit levels.

Files declare how many bits store a value, but seldom how many are significant.  Cameras and
instruments store 10 or 12 bits in 16, and some programs store 8; read as 16 bits, such images are
almost black.  TIFF has a tag for the highest value.  Without it, an image that uses less than a
sixteenth of its range is rejected.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dsunet_runtime.errors import ImageError

_MAX_SAMPLE_VALUE = 281  # TIFF's tag
_FEWEST_BITS, _MOST_BITS = 8, 16
_LOWEST_PEAK = 1 << 12
"""16-bit images whose values are all below this are assumed to have 12 bits or fewer."""
_NO_RANGE = "pixels have no known range: save it with 8 or 16 bits"


def stored_bits(image: Image.Image) -> int:
    """Return the significant bits of an image that is not loaded yet: 8, or 9 to 16.

    Raises ImageError for signed values.
    """
    raw = _raw_mode(image)
    if ";16" in raw and raw.endswith("S"):
        raise ImageError(f"signed {_NO_RANGE}")
    if ";12" in raw:
        return 12
    if ";16" in raw or image.mode.startswith("I"):
        return _declared_bits(image) or _MOST_BITS
    return 8


def grey_levels(values: NDArray[np.integer], bits: int) -> NDArray[np.uint8]:
    """Convert grey values of `bits` bits to 8-bit levels: the high byte."""
    highest = int(values.max())
    if values.min() < 0 or highest > 0xFFFF:
        raise ImageError(f"32-bit {_NO_RANGE}")
    if highest >> bits:
        raise ImageError(f"declares {bits} bits, but its highest value is {highest}")
    if bits == _MOST_BITS and highest:
        _check_peak(highest)
    return (values >> (bits - 8)).astype(np.uint8)


def check_colour(rgb: Image.Image) -> None:
    """Raise ImageError if an image of 16 bits per channel uses too little of its range.

    Pillow has kept the high bytes.
    """
    extrema = rgb.getextrema()
    highest = max(high for _, high in extrema)  # type: ignore[misc]  # of three bands, so pairs
    _check_peak((int(highest) << 8) + 0xFF)


def _check_peak(highest: int) -> None:
    if highest < _LOWEST_PEAK:
        raise ImageError(
            f"has 16 bits, but no value above {highest}, as if it had {highest.bit_length()} bits "
            "or fewer: save it with 8 bits, or with values up to 65535"
        )


def _raw_mode(image: Image.Image) -> str:
    """Pillow's raw mode of the pixels in the file, such as `RGB;16B`."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0].args if tiles else ()
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _declared_bits(image: Image.Image) -> int | None:
    """Significant bits declared by a TIFF file; None if there is no such declaration."""
    tags = getattr(image, "tag_v2", {})
    value = tags.get(_MAX_SAMPLE_VALUE)
    highest = max(value) if isinstance(value, tuple) and value else value
    if not isinstance(highest, int):
        return None
    bits = highest.bit_length()
    is_whole = highest == (1 << bits) - 1
    return bits if is_whole and _FEWEST_BITS <= bits <= _MOST_BITS else None
