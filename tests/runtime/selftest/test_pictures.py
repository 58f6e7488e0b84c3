"""Pictures are the same everywhere; coarse outputs are what NumPy and plain loops compute."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
import pytest

from dsunet_runtime.selftest import pictures
from dsunet_runtime.selftest.coarse import Coarse, point_places, shortened
from dsunet_runtime.selftest.pictures import picture
from dsunet_runtime.selftest.sizes import PICTURES, POINTS

U32 = 1 << 32


def by_loops(number: int, height: int, width: int) -> list[list[tuple[int, ...]]]:
    """The pictures in plain Python integers, pixel by pixel, as another language would."""

    def noise(x: int, y: int) -> int:
        mixed = (x * 73_856_093 % U32) ^ (y * 19_349_663 % U32)
        mixed ^= mixed >> 13
        return mixed * 1_274_126_177 % U32 >> 24

    def pixel(y: int, x: int) -> tuple[int, ...]:
        if number == 0:
            radius = min(height, width) // 4
            if (5 * y - 2 * height) ** 2 + (5 * x - 3 * width) ** 2 < 25 * radius**2:
                tile = 30 * ((x // 3 + y // 3) % 2)
                return 200 + tile, 60 + tile, 40 + tile
            return 255 * x // width, 255 * y // height, 128
        if number == 1:
            if height // 4 <= y < 3 * height // 4 and width // 8 <= x < width // 2:
                grain = noise(x // 5 + 7, y + 3) % 64
                return 105 + grain, 100 + grain, 55 + grain
            grain = noise(x // 2, y // 2) % 64
            return 90 + grain, 110 + grain, 50 + grain
        grain, below = noise(x, y) % 32, 3 * y - height
        if below > 0 and abs(2 * x - width) * height < below * width:
            return 220 - grain, 180 - grain, 60 + grain
        stripe = 140 * ((x + 2 * y) // 7 % 2)
        return 40 + stripe, 60 + stripe, 100 + stripe

    return [[pixel(y, x) for x in range(width)] for y in range(height)]


@pytest.mark.parametrize("number", range(PICTURES))
@pytest.mark.parametrize(("height", "width"), [(40, 60), (33, 17), (1, 1), (7, 1)])
def test_as_plain_integers(number: int, height: int, width: int) -> None:
    expected = np.array(by_loops(number, height, width))
    np.testing.assert_array_equal(picture(number, height, width), expected)


def test_in_bands_as_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [picture(number, 90, 50) for number in range(PICTURES)]
    monkeypatch.setattr(pictures, "_BAND", 7)
    for number, expected in enumerate(whole):
        np.testing.assert_array_equal(picture(number, 90, 50), expected)


def test_they_do_not_change() -> None:
    """Manifests hold what a network computes for them."""
    found = hashlib.sha256()
    for number in range(PICTURES):
        found.update(picture(number, 211, 97).tobytes())
    assert found.hexdigest()[:16] == "cffbb88aa7c79f3a"


@pytest.mark.parametrize("number", range(PICTURES))
def test_they_have_an_object(number: int) -> None:
    """Colours differ between the picture's middle and its border, and no channel is flat."""
    rgb = picture(number, 120, 160).astype(float)
    assert (rgb.std((0, 1)) > 10).all()


def test_coarse() -> None:
    values = np.random.default_rng(1).normal(size=(43, 18))
    coarse = Coarse.of(values)
    rows = [i * 43 // 8 for i in range(9)]
    columns = [i * 18 // 8 for i in range(9)]
    means = [values[a:b, c:d].mean() for a, b in pairwise(rows) for c, d in pairwise(columns)]
    np.testing.assert_allclose(coarse.blocks, means, rtol=1e-12)
    y, x = point_places(43, 18)
    assert [*coarse.points] == [values[i, j] for i, j in zip(y, x, strict=True)]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 700), (352, 352), (16384, 2)])
def test_points_are_inside_and_spread(height: int, width: int) -> None:
    y, x = point_places(height, width)
    assert len(y) == len(x) == POINTS
    assert 0 <= y.min() <= y.max() < height
    assert 0 <= x.min() <= x.max() < width
    if min(height, width) > 100:
        counts = np.histogram2d(y, x, 4, ((0, height), (0, width)))[0]
        assert counts.min() >= 1


def test_a_small_map_has_a_block_for_each_pixel() -> None:
    np.testing.assert_array_equal(Coarse.of(np.arange(6).reshape(2, 3)).blocks, np.arange(6))


def test_shortened() -> None:
    assert shortened(np.array([1.23456789, -98765.4321, 0.0])) == (1.2346, -98765.0, 0.0)
