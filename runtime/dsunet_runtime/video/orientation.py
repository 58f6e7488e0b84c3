"""Upright frames by the display matrix of a video."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av import VideoFrame

_ENTRIES = 9


@dataclass(frozen=True, slots=True)
class Orientation:
    """The operations that make a stored frame upright: first the transposition, then the flips."""

    transposed: bool = False
    """Whether rows and columns are exchanged."""
    mirrored: bool = False
    """Whether the columns are reversed."""
    upside_down: bool = False
    """Whether the rows are reversed."""

    @classmethod
    def of(cls, frame: VideoFrame) -> Self:
        """Read the display matrix of a frame; angles are rounded to multiples of 90°."""
        stored: Any = frame.side_data.get("DISPLAYMATRIX")
        matrix = np.frombuffer(b"" if stored is None else stored, np.int32)
        if len(matrix) != _ENTRIES:
            return cls()
        # A pixel (x, y) is shown at (a x + c y, b x + d y).
        a, b, _, c, d = map(int, matrix[:5])
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(True, mirrored=c < 0, upside_down=b < 0)
        return cls(False, mirrored=a < 0, upside_down=d < 0)

    def upright(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Make an array H×W×C upright; the result is contiguous."""
        if self.transposed:
            pixels = pixels.swapaxes(0, 1)
        if self.mirrored:
            pixels = pixels[:, ::-1]
        if self.upside_down:
            pixels = pixels[::-1]
        return np.ascontiguousarray(pixels)

    def aspect(self, pixel: Fraction | None) -> Fraction | None:
        """Return the width of an upright pixel over its height, from that of a stored pixel."""
        return 1 / pixel if pixel and self.transposed else pixel or None
