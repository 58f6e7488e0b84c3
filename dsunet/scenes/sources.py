"""Image files that scenes are made of: cut-outs with an alpha channel, and photographs.

They are checked before the first scene, and decoded when a scene needs them.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from dsunet.data.faults import Fault, FaultKind, refuse
from dsunet.data.files import decode_file
from dsunet.errors import DataError
from dsunet_runtime.errors import ImageError
from dsunet_runtime.image_files import with_image
from dsunet_runtime.image_folder import ImageFolder
from dsunet_runtime.message_text import reason
from dsunet_runtime.progress import Progress

_MAX_SIDE = 2048
"""Larger sources are reduced to this side: no scene is larger."""
_CACHED = 48
"""Number of decoded sources that a process keeps: at most 13 MB each."""
_INSIDE = 128
_MIN_CLEAR_FRACTION = 0.01


@dataclass(frozen=True, slots=True)
class Sources:
    """Files that scenes are made of; objects and backgrounds without files are drawn."""

    foregrounds: tuple[Path, ...] = ()
    """Cut-outs: images with an alpha channel."""
    backgrounds: tuple[Path, ...] = ()
    """Opaque images without a salient object."""


DRAWN = Sources()
"""No files: objects and backgrounds are drawn."""


def find_sources(foregrounds: Path | None, backgrounds: Path | None) -> Sources:
    """Find and check the images of two folders; None stands for drawn objects or backgrounds.

    Raises DataError if a folder cannot be read or has no images, and with a list of the images
    that cannot be used: unreadable, without a silhouette, or backgrounds with transparent pixels.
    """
    cutouts, photographs = _images(foregrounds), _images(backgrounds)
    checks: list[tuple[Callable[[Path], object], Path]] = [
        *((_decode_cutout, path) for path in cutouts),
        *((_decode_photograph, path) for path in photographs),
    ]
    faults = []
    with (
        ThreadPoolExecutor(os.cpu_count()) as threads,  # Pillow releases the GIL while it decodes
        Progress(max(len(checks), 1), sys.stderr) as progress,
    ):
        for fault in threads.map(_fault, checks):
            progress.advance()
            if fault is not None:
                faults.append(fault)
    refuse("the foregrounds and backgrounds cannot be used", faults)
    return Sources(cutouts, photographs)


@functools.lru_cache(_CACHED)
def read_cutout(path: Path) -> Image.Image:
    """Decode a cut-out: mode RGBA, cropped to what is not transparent.  Raises DataError."""
    return _decode_cutout(path)


@functools.lru_cache(_CACHED)
def read_photograph(path: Path) -> NDArray[np.uint8]:
    """Decode a background: H×W×3, uint8, RGB, at most 2048 pixels a side.  Raises DataError."""
    return _decode_photograph(path)


def _images(folder: Path | None) -> tuple[Path, ...]:
    if folder is None:
        return ()
    try:
        found = ImageFolder.read(folder)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {reason(error)}") from error
    if not found.images:
        raise DataError(found.no_images)
    return found.images


def _decode_cutout(path: Path) -> Image.Image:
    try:
        image = with_image(path, lambda image: ImageOps.exif_transpose(image).convert("RGBA"))
    except ImageError as error:
        raise DataError(f"{path}: {error}") from error
    image.thumbnail((_MAX_SIDE, _MAX_SIDE))
    alpha = np.asarray(image.getchannel("A"))
    if np.count_nonzero(alpha < _INSIDE) < _MIN_CLEAR_FRACTION * alpha.size:
        raise _UnusableError(FaultKind.OPAQUE, f"{path}: has no transparent background")
    box = Image.fromarray(np.where(alpha >= _INSIDE, alpha, 0)).getbbox()
    if box is None:
        raise _UnusableError(FaultKind.OPAQUE, f"{path}: is transparent everywhere")
    return image.crop(box)


def _decode_photograph(path: Path) -> NDArray[np.uint8]:
    decoded = decode_file(path)
    if decoded.is_transparent:
        raise _UnusableError(FaultKind.TRANSPARENT, f"{path}: has transparent pixels")
    image = Image.fromarray(decoded.rgb)
    image.thumbnail((_MAX_SIDE, _MAX_SIDE))
    return np.asarray(image)


class _UnusableError(DataError):
    """An image that can be read but not used."""

    def __init__(self, kind: FaultKind, line: str) -> None:
        super().__init__(line)
        self.kind = kind


def _fault(check: tuple[Callable[[Path], object], Path]) -> Fault | None:
    decode, path = check
    try:
        decode(path)
    except _UnusableError as error:
        return Fault(error.kind, str(error))
    except DataError as error:
        return Fault(FaultKind.UNREADABLE, str(error))
    return None


def pick_file(rng: np.random.Generator, paths: Sequence[Path]) -> Path:
    """Draw a file; each is as likely."""
    return paths[int(rng.integers(len(paths)))]
