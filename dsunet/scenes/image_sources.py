"""Image files that scenes are made of: cut-outs with an alpha channel, and photographs.

They are checked before the first scene, and decoded when a scene needs them.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from dsunet.data.checks import check_each, read_defect
from dsunet.data.defects import Defect, DefectKind, raise_defects
from dsunet.data.image_files import decode_file
from dsunet.data.pairs import read_image_folder
from dsunet.errors import DataError
from dsunet_runtime.errors import ImageError
from dsunet_runtime.images.files import with_image
from dsunet_runtime.progress import Progress

_MAX_SIDE = 2048
"""Larger sources are reduced to this side: no scene is larger."""
_CACHED = 48
"""Number of decoded sources that a process keeps: at most 13 MB each."""
_OPAQUE_ALPHA = 128
"""Lowest alpha of a pixel of the object; edges of cut-outs are softer."""
_MIN_CLEAR_FRACTION = 0.01
"""Least fraction of an image that is not its object: an opaque image has no outline."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Files that scenes are made of; objects and backgrounds without files are drawn."""

    foregrounds: tuple[Path, ...] = ()
    """Cut-outs: images with an alpha channel."""
    backgrounds: tuple[Path, ...] = ()
    """Opaque images without a salient object."""

    @property
    def folders(self) -> dict[str, Path]:
        """The folders of the files, by the names of the fields; none for what is drawn."""
        kinds = {"foregrounds": self.foregrounds, "backgrounds": self.backgrounds}
        return {name: paths[0].parent for name, paths in kinds.items() if paths}


DRAWN = Sources()
"""No files: objects and backgrounds are drawn."""


def find_sources(foregrounds: Path | None, backgrounds: Path | None) -> Sources:
    """Find and check the images of two folders; None stands for drawn objects or backgrounds.

    Prints a line about files of the folders that are not images.  Raises DataError if a folder
    cannot be read or has no images, and with a list of the images that cannot be used: unreadable
    ones, foregrounds without a transparent background, and backgrounds with transparent pixels.
    """
    sources = Sources(_images(foregrounds), _images(backgrounds))
    checks = [
        *(functools.partial(_cutout_defect, path) for path in sources.foregrounds),
        *(functools.partial(_photograph_defect, path) for path in sources.backgrounds),
    ]
    if checks:
        with Progress(len(checks), sys.stderr) as progress:
            defects = check_each(lambda check: check(), checks, progress)
        raise_defects(
            "the foregrounds and backgrounds cannot be used", [one for one in defects if one]
        )
    return sources


@functools.lru_cache(_CACHED)
def read_cutout(path: Path) -> Image.Image:
    """Decode a cut-out: mode RGBA, cropped to its opaque pixels.  Raises DataError."""
    image = _decode_rgba(path)
    image.thumbnail((_MAX_SIDE, _MAX_SIDE))
    opaque = image.getchannel("A").point(lambda alpha: 255 * (alpha >= _OPAQUE_ALPHA))
    return image.crop(opaque.getbbox())


@functools.lru_cache(_CACHED)
def read_photograph(path: Path) -> NDArray[np.uint8]:
    """Decode a background: H×W×3, uint8, RGB, at most 2048 pixels a side.  Raises DataError."""
    image = Image.fromarray(decode_file(path).rgb)
    image.thumbnail((_MAX_SIDE, _MAX_SIDE))
    return np.asarray(image)


def random_file(rng: np.random.Generator, paths: Sequence[Path]) -> Path:
    """Draw one of the files; all are equally likely."""
    return paths[int(rng.integers(len(paths)))]


def _images(folder: Path | None) -> tuple[Path, ...]:
    if folder is None:
        return ()
    contents = read_image_folder(folder)
    if contents.left_out:
        print(contents.left_out, file=sys.stderr)
    return contents.images


def _cutout_defect(path: Path) -> Defect | None:
    try:
        alpha = np.asarray(_decode_rgba(path).getchannel("A"))
    except DataError as error:
        return read_defect(path, error)
    opaque = np.count_nonzero(alpha >= _OPAQUE_ALPHA)
    if not opaque:
        return Defect(DefectKind.INVISIBLE, f"{path}: is transparent everywhere")
    if opaque > (1 - _MIN_CLEAR_FRACTION) * alpha.size:
        return Defect(DefectKind.OPAQUE, f"{path}: is opaque everywhere")
    return None


def _photograph_defect(path: Path) -> Defect | None:
    try:
        decoded = decode_file(path)
    except DataError as error:
        return read_defect(path, error)
    if decoded.is_transparent:
        return Defect(DefectKind.TRANSPARENT, f"{path}: has transparent pixels")
    return None


def _decode_rgba(path: Path) -> Image.Image:
    try:
        return with_image(path, lambda image: ImageOps.exif_transpose(image).convert("RGBA"))
    except ImageError as error:
        raise DataError(f"{path}: {error}") from error
