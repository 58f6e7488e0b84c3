"""Atomic writing of masks and overlays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from dsunet_runtime.errors import OutputError
from dsunet_runtime.files import staged_file
from dsunet_runtime.message_text import reason

# Cyan contrasts with tissue and with foliage.
_COLOUR = (0, 200, 255)
_OPACITY = 0.5
_CONTOUR_AT = 128


def write_mask(mask: NDArray[np.uint8], path: Path) -> None:
    """Write a mask (uint8, H×W) as an 8-bit grey PNG.  Raises OutputError if that fails."""
    image = Image.fromarray(mask)
    # Level 1 writes a mask of 12 megapixels three to five times as fast, for a fifth more bytes.
    write_whole(path, lambda file: image.save(file, "PNG", compress_level=1))


def write_overlay(rgb: NDArray[np.uint8], mask: NDArray[np.uint8], path: Path) -> None:
    """Write an image (uint8, H×W×3) with its mask (uint8, H×W) drawn over it as a JPEG file.

    Raises OutputError if that fails.
    """
    image = overlay(rgb, mask)
    write_whole(path, lambda file: image.save(file, "JPEG", quality=90))


def overlay(rgb: NDArray[np.uint8], mask: NDArray[np.uint8]) -> Image.Image:
    """Tint an image where the mask is bright, and draw the contour where the mask crosses 128."""
    drawn = Image.fromarray(rgb).copy()
    tint = Image.fromarray(mask).point(lambda value: value * _OPACITY)
    drawn.paste(_COLOUR, mask=tint)
    drawn.paste(_COLOUR, mask=_contour(mask))
    return drawn


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file atomically (see `files.staged_file`).  Raises OutputError if that fails."""
    try:
        with staged_file(path) as file:
            write(file)
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: cannot be written: {reason(error)}") from error


def _contour(mask: NDArray[np.uint8]) -> Image.Image:
    """Return 255 near the border of the object, else 0; the line is wider in larger images."""
    radius = max(1, round(min(mask.shape) / 400))
    inside = Image.fromarray(np.where(mask >= _CONTOUR_AT, 255, 0).astype(np.uint8))
    # The mean in a box is between 0 and 255 only where the box crosses the border.
    return inside.filter(ImageFilter.BoxBlur(radius)).point(lambda v: 255 if 0 < v < 255 else 0)
