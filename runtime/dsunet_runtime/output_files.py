"""Atomic writing of masks and overlays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dsunet_runtime.errors import OutputError
from dsunet_runtime.files import staged_file
from dsunet_runtime.message_text import reason
from dsunet_runtime.renderings import Overlay


def write_mask(mask: NDArray[np.uint8], path: Path) -> None:
    """Write a mask (uint8, H×W) as an 8-bit grey PNG.  Raises OutputError if that fails."""
    image = Image.fromarray(mask)
    # Level 1 writes a mask of 12 megapixels three to five times as fast, for a fifth more bytes.
    write_whole(path, lambda file: image.save(file, "PNG", compress_level=1))


def write_overlay(rgb: NDArray[np.uint8], mask: NDArray[np.uint8], path: Path) -> None:
    """Write an image (uint8, H×W×3) with its mask (uint8, H×W) drawn over it as a JPEG file.

    Raises OutputError if that fails.
    """
    image = Image.fromarray(Overlay()(rgb, mask))
    write_whole(path, lambda file: image.save(file, "JPEG", quality=90))


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file atomically (see `files.staged_file`).  Raises OutputError if that fails."""
    try:
        with staged_file(path) as file:
            write(file)
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: cannot be written: {reason(error)}") from error
