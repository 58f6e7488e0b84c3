"""Pixel formats of frames, and their conversion to RGB.

NV12 is converted in integers, with 16 fractional bits, so that every language computes the same
bytes.  For the luma Y and the chroma U and V of a pixel, clipped to 0 to 255:

    y = luma * (Y - black)
    R = (y + red_v * (V - 128) + 32768) >> 16
    G = (y - green_u * (U - 128) - green_v * (V - 128) + 32768) >> 16
    B = (y + blue_u * (U - 128) + 32768) >> 16

`>>` rounds down.  A pair of U and V belongs to 2×2 pixels and is not interpolated.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class PixelFormat(enum.StrEnum):
    """Pixel format of a frame.

    Except for `nv12`, the name is the order of the bytes of a pixel.  An alpha channel is dropped
    without compositing, so that `rgba` and `bgra` also stand for RGBx and BGRx.
    """

    RGB = "rgb"
    BGR = "bgr"
    RGBA = "rgba"
    BGRA = "bgra"
    NV12 = "nv12"
    """A plane Y, H×W, and a plane of interleaved U and V, one pair for each 2×2 pixels."""


class YuvEncoding(enum.StrEnum):
    """Matrix (an ITU recommendation) and range of the values of `nv12`.

    Limited: Y is 16 to 235, U and V are 16 to 240.  Full: all are 0 to 255.
    """

    BT601_LIMITED = "bt601-limited"
    BT601_FULL = "bt601-full"
    BT709_LIMITED = "bt709-limited"
    BT709_FULL = "bt709-full"


class Coefficients(NamedTuple):
    """Coefficients of a conversion; all but `black` are multiplied by 65536 and rounded."""

    black: int
    """Y of black."""
    luma: int
    red_v: int
    green_u: int
    green_v: int
    blue_u: int


COEFFICIENTS = {
    YuvEncoding.BT601_LIMITED: Coefficients(16, 76309, 104597, 25675, 53279, 132201),
    YuvEncoding.BT601_FULL: Coefficients(0, 65536, 91881, 22553, 46802, 116130),
    YuvEncoding.BT709_LIMITED: Coefficients(16, 76309, 117489, 13975, 34925, 138438),
    YuvEncoding.BT709_FULL: Coefficients(0, 65536, 103206, 12276, 30679, 121609),
}

_FRACTION = 16
_ROUNDING = 1 << (_FRACTION - 1)
_BAND = 64
"""Rows that are converted at once, so that they stay in the CPU's cache."""


def packed_to_rgb(pixels: NDArray[np.uint8], format_: PixelFormat) -> NDArray[np.uint8]:
    """Convert pixels H×W×3 or H×W×4 to contiguous RGB, without a copy if they are that."""
    if format_ is PixelFormat.RGB:
        return np.ascontiguousarray(pixels)
    rgb = np.empty((*pixels.shape[:2], 3), np.uint8)
    for index, channel in enumerate("rgb"):
        rgb[..., index] = pixels[..., format_.index(channel)]
    return rgb


def nv12_to_rgb(
    luma: NDArray[np.uint8],
    chroma: NDArray[np.uint8],
    first: tuple[int, int],
    encoding: YuvEncoding,
) -> NDArray[np.uint8]:
    """Convert NV12 to RGB, H×W×3, contiguous.

    Args:
        luma: Y, H×W.
        chroma: The pairs of U and V that these pixels use, rows×columns×2.
        first: Row and column, 0 or 1, of the first pixel within the 2×2 of the first pair.
        encoding: Matrix and range of the values.
    """
    coefficients = COEFFICIENTS[encoding]
    height, width = luma.shape
    top, left = first
    rgb = np.empty((height, width, 3), np.uint8)
    for start in range(0, height, _BAND):
        band = luma[start : start + _BAND].astype(np.int32)
        grey = (band - coefficients.black) * coefficients.luma + _ROUNDING
        rows = np.arange(top + start, top + start + len(band)) // 2
        pairs = chroma[rows[0] : rows[-1] + 1]
        for channel, colour in enumerate(_colours(pairs, coefficients)):
            levels = np.repeat(colour, 2, axis=1)[rows - rows[0], left : left + width]
            levels += grey
            levels >>= _FRACTION
            rgb[start : start + _BAND, :, channel] = levels.clip(0, 255, out=levels)
    return rgb


def _colours(pairs: NDArray[np.uint8], coefficients: Coefficients) -> tuple[NDArray[np.int32], ...]:
    """Return the terms of U and V in red, green and blue."""
    u, v = np.moveaxis(pairs.astype(np.int32) - 128, -1, 0)
    green = -coefficients.green_u * u - coefficients.green_v * v
    return coefficients.red_v * v, green, coefficients.blue_u * u
