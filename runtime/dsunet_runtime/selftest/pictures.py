"""Pictures with an object on a background, drawn with integers only.

All numbers are below 2³² and divisions are of non-negative integers, so that every language draws
the same pixels.  `x` and `y` count columns and rows from 0, and `/` rounds down.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Grid = NDArray[np.int64]

_BAND = 256
"""Rows that are drawn at once, which bounds the memory."""


def picture(number: int, height: int, width: int) -> NDArray[np.uint8]:
    """Draw a picture H×W×3, RGB.  `number` is less than `sizes.PICTURES`."""
    pixels = np.empty((height, width, 3), np.uint8)
    for start in range(0, height, _BAND):
        band = pixels[start : start + _BAND]
        y, x = np.mgrid[start : start + len(band), :width].astype(np.int64)
        inside, object_, background = _SCENES[number](y, x, height, width)
        for channel, pair in enumerate(zip(object_, background, strict=True)):
            band[..., channel] = np.where(inside, *pair)
    return pixels


Colours = tuple[Grid, Grid, Grid]
Scene = tuple[NDArray[np.bool_], Colours, Colours]
"""The mask of the object, then red, green and blue of the object and of the background."""


def _disc_on_a_gradient(y: Grid, x: Grid, height: int, width: int) -> Scene:
    radius = min(height, width) // 4
    inside = (5 * y - 2 * height) ** 2 + (5 * x - 3 * width) ** 2 < (5 * radius) ** 2
    tiles = 30 * ((x // 3 + y // 3) % 2)
    background = (255 * x // width, 255 * y // height, 128 + 0 * x)
    return inside, (200 + tiles, 60 + tiles, 40 + tiles), background


def _rectangle_in_its_own_texture(y: Grid, x: Grid, height: int, width: int) -> Scene:
    rows = (height // 4 <= y) & (y < 3 * height // 4)
    columns = (width // 8 <= x) & (x < width // 2)
    grain = _noise(x // 2, y // 2) % 64
    background = (90 + grain, 110 + grain, 50 + grain)
    moved = _noise(x // 5 + 7, y + 3) % 64
    return rows & columns, (105 + moved, 100 + moved, 55 + moved), background


def _triangle_on_stripes(y: Grid, x: Grid, height: int, width: int) -> Scene:
    below = 3 * y - height
    inside = (below > 0) & (np.abs(2 * x - width) * height < below * width)
    stripes = 140 * ((x + 2 * y) // 7 % 2)
    grain = _noise(x, y) % 32
    background = (40 + stripes, 60 + stripes, 100 + stripes)
    return inside, (220 - grain, 180 - grain, 60 + grain), background


def _noise(x: Grid, y: Grid) -> Grid:
    """Eight pseudorandom bits for each pixel, by multiplication modulo 2³²."""
    mixed = (x * 73_856_093 ^ y * 19_349_663) % (1 << 32)
    mixed = (mixed ^ mixed >> 13) * 1_274_126_177 % (1 << 32)
    return mixed >> 24


_SCENES: tuple[Callable[[Grid, Grid, int, int], Scene], ...] = (
    _disc_on_a_gradient,
    _rectangle_in_its_own_texture,
    _triangle_on_stripes,
)
"""In the order of the numbers that manifests contain: append new ones."""
