"""Frames of noise in every pixel format, and the formula of NV12 in Python's integers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsunet_runtime import Frame, YuvEncoding
from dsunet_runtime.images.pixels import COEFFICIENTS

Pixels = NDArray[np.uint8]

HEIGHT, WIDTH = 7, 5


def noise(*shape: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def halves(height: int, width: int) -> tuple[int, int]:
    return -(-height // 2), -(-width // 2)


def nv12(height: int = HEIGHT, width: int = WIDTH, **options: Any) -> Frame:
    return Frame(
        noise(height, width), "nv12", chroma=noise(*halves(height, width), 2, seed=1), **options
    )


def frame_of(format_: str, **options: Any) -> Frame:
    """A frame of noise, HEIGHT×WIDTH."""
    if format_ == "nv12":
        return nv12(**options)
    return Frame(noise(HEIGHT, WIDTH, len(format_)), format_, **options)


def by_hand(luma: Pixels, chroma: Pixels, encoding: str = "bt601-limited") -> Pixels:
    """The integer formula of NV12, pixel by pixel, in Python's integers."""
    black, scale, red_v, green_u, green_v, blue_u = COEFFICIENTS[YuvEncoding(encoding)]
    rgb = np.empty((*luma.shape, 3), np.uint8)
    for row, column in np.ndindex(*luma.shape):
        u, v = (int(value) - 128 for value in chroma[row // 2, column // 2])
        y = scale * (int(luma[row, column]) - black)
        colour = (y + red_v * v, y - green_u * u - green_v * v, y + blue_u * u)
        rgb[row, column] = [min(max((value + 32768) >> 16, 0), 255) for value in colour]
    return rgb
