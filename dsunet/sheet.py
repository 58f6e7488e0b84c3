"""Pictures in rows and columns, to look at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_GAP = 4
_GREY = (64, 64, 64)


def draw_sheet(rows: Sequence[Sequence[NDArray[np.uint8]]], side: int) -> Image.Image:
    """Images H×W×3 and masks H×W, each fitted into a square of `side` pixels on grey.

    Every row has as many as the first.
    """
    sheet = Image.new("RGB", (side * len(rows[0]), side * len(rows)), _GREY)
    for y, row in enumerate(rows):
        for x, pixels in enumerate(row):
            tile = Image.fromarray(pixels).convert("RGB")
            tile.thumbnail((side - _GAP, side - _GAP))
            left, top = (side - tile.width) // 2, (side - tile.height) // 2
            sheet.paste(tile, (x * side + left, y * side + top))
    return sheet
