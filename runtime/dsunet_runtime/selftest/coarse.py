"""An output map reduced to block means, which cover all of it, and points, which are sharp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dsunet_runtime.artifact.manifest import SelfTestCase
from dsunet_runtime.selftest.sizes import GRID, POINTS

_DIGITS = 5
"""Significant digits of each number in a manifest."""


@dataclass(frozen=True, slots=True)
class Coarse:
    """Means of up to 8×8 blocks, row by row, and values at 64 points."""

    blocks: NDArray[np.float64]
    points: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[Any]) -> Self:
        """Reduce a map H×W."""
        height, width = values.shape
        rows, columns = (
            np.arange(min(GRID, side)) * side // min(GRID, side) for side in values.shape
        )
        sums = np.add.reduceat(
            np.add.reduceat(values.astype(np.float64), rows, axis=0), columns, axis=1
        )
        areas = np.outer(np.diff([*rows, height]), np.diff([*columns, width]))
        y, x = point_places(height, width)
        return cls((sums / areas).ravel(), values[y, x].astype(np.float64))


def point_places(height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows and columns of the points: a multiplicative hash of their number, modulo 2³²."""
    mixed = np.arange(1, POINTS + 1, dtype=np.int64) * 2_654_435_761 % (1 << 32)
    return (mixed >> 16) * height >> 16, (mixed % (1 << 16)) * width >> 16


def shortened(values: NDArray[np.float64]) -> tuple[float, ...]:
    """Round numbers to the digits of a manifest."""
    return tuple(float(f"{value:.{_DIGITS}g}") for value in values)


def case_of(
    number: int,
    size: tuple[int, int],
    coarse: Coarse,
    blocks_tolerance: float = 0.0,
    points_tolerance: float = 0.0,
) -> SelfTestCase:
    """Create the reference for a picture of height and width `size`."""
    blocks, points = shortened(coarse.blocks), shortened(coarse.points)
    return SelfTestCase(number, *size, blocks, points, blocks_tolerance, points_tolerance)
