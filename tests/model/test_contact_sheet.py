"""Images and masks side by side, each under its title."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dsunet.reports.contact_sheet import TITLE_HEIGHT, draw_sheet

IMAGE, MASK = np.full((40, 60, 3), 200, np.uint8), np.full((40, 60), 255, np.uint8)
SIDE = 120


def columns(titles: tuple[str, ...]) -> list[NDArray[np.uint8]]:
    """The pixels of each title, grey."""
    sheet = np.asarray(draw_sheet([[IMAGE, MASK]], SIDE, titles).convert("L"))
    assert sheet.shape == (TITLE_HEIGHT + SIDE, 2 * SIDE)
    return [sheet[:TITLE_HEIGHT, x : x + SIDE] for x in (0, SIDE)]


def test_titles_stand_above_their_columns() -> None:
    plain = np.asarray(draw_sheet([[IMAGE, MASK]], SIDE))
    titled = np.asarray(draw_sheet([[IMAGE, MASK]], SIDE, ("image", "mask")))
    assert np.array_equal(titled[TITLE_HEIGHT:], plain)
    for title in columns(("image", "mask")):
        assert (title > 200).sum() > 20
    first, second = columns(("image", ""))
    assert (first > 200).any()
    assert not (second > 200).any()


def test_a_title_that_is_too_long_keeps_to_its_column_and_shows_its_end() -> None:
    path = "/a/long/way/to/the/files/of/this/project/nano16.onnx"
    first, second = columns((path, ""))
    assert not (second > 200).any()
    (shorter, _), (other, _) = columns((path[5:], "")), columns((path[:-4] + "xxxx", ""))
    assert np.array_equal(first, shorter)
    assert not np.array_equal(first, other)


def test_a_name_that_is_no_text_is_drawn_all_the_same() -> None:
    columns(("caf\udce9\x1b[2J\n.png", "猫.png"))
