"""Contact sheets: images and masks in rows and columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dsunet_runtime.message_text import printable

_GAP = 4
_GREY = (64, 64, 64)
_WHITE = (255, 255, 255)
_TEXT_SIZE, TITLE_HEIGHT = 14, 22


def draw_sheet(
    rows: Sequence[Sequence[NDArray[np.uint8]]], side: int, titles: Sequence[str] = ()
) -> Image.Image:
    """Draw images H×W×3 and masks H×W, each scaled to fit a square of `side` pixels.

    All rows have the same length.  `titles`, one per column, are drawn above the first row; a title
    that is too long is shortened at its start, because file names differ at their ends.
    """
    top = TITLE_HEIGHT if titles else 0
    sheet = Image.new("RGB", (side * len(rows[0]), top + side * len(rows)), _GREY)
    for x, title in enumerate(titles):
        _write(sheet, title, x * side, side)
    for y, row in enumerate(rows):
        for x, pixels in enumerate(row):
            tile = Image.fromarray(pixels).convert("RGB")
            tile.thumbnail((side - _GAP, side - _GAP))
            left, above = (side - tile.width) // 2, (side - tile.height) // 2
            sheet.paste(tile, (x * side + left, top + y * side + above))
    return sheet


def _write(sheet: Image.Image, title: str, left: int, width: int) -> None:
    font = ImageFont.load_default(_TEXT_SIZE)
    shown = printable(title)
    while len(shown) > 2 and font.getlength(shown) > width - 2 * _GAP:
        shown = "…" + shown[2:]
    place = (left + width / 2, TITLE_HEIGHT / 2)
    ImageDraw.Draw(sheet).text(place, shown, _WHITE, font, anchor="mm")
