"""An image and its mask: found by their names, and checked before anything long begins."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from dsunet.errors import DataError, listed
from dsunet_runtime.errors import ImageError
from dsunet_runtime.files import resolved
from dsunet_runtime.images import as_rgb
from dsunet_runtime.jobs import images_at
from dsunet_runtime.progress import Progress

NON_CAMOUFLAGED = "COD10K-NonCAM-"
"""How COD10K names its images that have nothing to find; papers neither train nor test on them."""

_GREY_SPREAD = 8  # a JPEG file of grey pixels decodes to almost equal channels
_ONE_BYTE = 0xFF


@dataclass(frozen=True, slots=True)
class Pair:
    """An image file and its mask file, whose names differ in the suffix only."""

    stem: str
    image: Path
    mask: Path


def find_pairs(images: Path, masks: Path, *, shared_masks: bool = True) -> list[Pair]:
    """The images of one folder with their masks in another, sorted by stem.

    Files are known by `dsunet_runtime.jobs.SUFFIXES` in any case; hidden files and subfolders are
    left out, and so is what COD10K names as not camouflaged.  Where the images are one of several
    folders that share one folder of masks (CAMO's Images/Train and Images/Test beside GT), masks of
    the other folders' images are left out too, unless `shared_masks` is false.

    Raises DataError that lists the images without mask, the masks without image, and the files of
    one folder that have one stem.
    """
    found_images, found_masks = files_by_stem(images), files_by_stem(masks)
    lone_images = found_images.keys() - found_masks
    lone_masks = found_masks.keys() - found_images
    if lone_masks and shared_masks:
        lone_masks -= _stems_beside(images, masks)
    faults = [
        *(f"{found_images[stem].name}: no mask" for stem in sorted(lone_images)),
        *(f"{found_masks[stem].name}: no image" for stem in sorted(lone_masks)),
    ]
    if faults:
        counts = [
            f"{len(lone)} in {folder} without one in {other}"
            for lone, folder, other in ((lone_images, images, masks), (lone_masks, masks, images))
            if lone
        ]
        raise DataError(
            listed(
                f"{images} and {masks} do not pair by name: {', '.join(counts)}; add or remove "
                f"them",
                faults,
            )
        )
    return [Pair(stem, found_images[stem], found_masks[stem]) for stem in sorted(found_images)]


def files_by_stem(folder: Path) -> dict[str, Path]:
    """The images or masks of a folder, by their names without suffix; COD10K's non-camouflaged not.

    Raises DataError if there are none, or lists the files that have one stem.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: is no folder: name one with images or masks")
    try:
        files = [path for path in images_at(folder) if not path.name.startswith(NON_CAMOUFLAGED)]
    except ImageError as error:
        raise DataError(str(error)) from error
    stems: dict[str, Path] = {}
    twins = []
    for path in files:
        if path.stem in stems:
            twins.append(f"{stems[path.stem].name} and {path.name}")
        stems[path.stem] = path
    if twins:
        raise DataError(
            listed(
                f"{folder}: {len(twins)} names are there twice, so that pairs are not clear; "
                "remove one of each",
                twins,
            )
        )
    return stems


def check_pairs(pairs: Sequence[Pair], stream: TextIO | None = None) -> None:
    """Decode every file whole, on all cores, with a progress bar if `stream` is a terminal.

    Without `stream` that is stderr.

    Raises DataError that lists the files that are unreadable, truncated or no masks, and the pairs
    whose image, upright, and mask have different sizes.  An empty mask is a mask.
    """
    if not pairs:
        raise DataError("there are no images to use: name a folder that has some")
    faults: list[str] = []
    threads = ThreadPoolExecutor(os.cpu_count())  # Pillow decodes without the interpreter's lock
    with Progress(len(pairs), stream or sys.stderr) as progress:
        try:
            for found in threads.map(_faults, pairs):
                faults += found
                progress.advance()
        finally:
            threads.shutdown(cancel_futures=True)
    if faults:
        raise DataError(
            listed(
                f"not all of the {len(pairs)} images and masks can be used; "
                "repair these or remove them",
                faults,
            )
        )


def read_image(path: Path) -> NDArray[np.uint8]:
    """An image H×W×3, RGB, upright.  Raises DataError if it cannot be read."""
    try:
        return as_rgb(path)
    except ImageError as error:
        raise DataError(f"{path}: {error}") from error


def read_mask(path: Path) -> NDArray[np.uint8]:
    """A mask H×W, uint8: 0 is outside, 255 inside, and above 128 counts as inside.

    Grey of 8 bits is taken as it is, 1 bit as 0 and 255, of 16 bits the high byte.  Palettes are
    looked up.  Colour files are taken if all their pixels are grey, and an alpha channel if all of
    it is opaque.

    Raises DataError for what cannot be read, and where the meaning would be a guess: coloured or
    transparent pixels, 0 and 1 instead of 0 and 255, one-byte values in a file of 16 bits.
    """
    try:
        with Image.open(path) as image:
            image.load()
            _refuse_unclear(path, image)
            rgb = as_rgb(image)
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: not an image, or of a format that is not known here") from error
    except (DataError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise whatever their parsers trip over
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DataError(f"{path}: cannot be read: {reason}") from error
    if image.mode not in ("1", "L") and _spread(rgb) > _GREY_SPREAD:
        raise DataError(
            f"{path}: has coloured pixels, and which colours are inside is not known: "
            "save it as grey, 0 outside and 255 inside"
        )
    mask = np.ascontiguousarray(rgb[:, :, 0])
    if mask.max() == 1:
        raise DataError(
            f"{path}: its values are 0 and 1: multiply them by 255, because 255 is inside"
        )
    return mask


def _spread(rgb: NDArray[np.uint8]) -> int:
    """How far the channels of a pixel lie apart at most."""
    red, green, blue = (rgb[:, :, channel] for channel in range(3))
    highest = np.maximum(np.maximum(red, green), blue)
    return int((highest - np.minimum(np.minimum(red, green), blue)).max())


def _refuse_unclear(path: Path, image: Image.Image) -> None:
    if image.has_transparency_data:
        lowest, _ = image.convert("RGBA").getchannel("A").getextrema()
        if lowest != _ONE_BYTE:
            raise DataError(
                f"{path}: has transparent pixels, and whether colour or transparency is the mask "
                "is not known: save it as grey, 0 outside and 255 inside"
            )
    if image.mode.startswith("I"):
        _, highest = image.getextrema()
        if 0 < highest <= _ONE_BYTE:  # type: ignore[operator]  # one band, so a number
            raise DataError(
                f"{path}: has 16 bits, but its highest value is {highest}: save it with 8 bits, "
                "0 outside and 255 inside"
            )


def _faults(pair: Pair) -> list[str]:
    """What is wrong with a pair, a line each."""
    faults = []
    shapes = []
    readers: list[tuple[Path, Callable[[Path], NDArray[np.uint8]]]] = [
        (pair.image, read_image),
        (pair.mask, read_mask),
    ]
    for path, read in readers:
        try:
            shapes.append(read(path).shape[:2])
        except DataError as error:
            faults.append(str(error))
    if not faults and shapes[0] != shapes[1]:
        faults.append(_misshaped(pair, *shapes))
    return faults


def _misshaped(pair: Pair, image: tuple[int, ...], mask: tuple[int, ...]) -> str:
    line = f"{pair.image}: is {image[1]}×{image[0]} pixels, its mask {mask[1]}×{mask[0]}"
    with Image.open(pair.image) as file:
        as_stored = (file.height, file.width)
    if as_stored == mask:
        line += ": EXIF turns the image and not the mask; turn the mask, or drop the EXIF tag"
    return line


def _stems_beside(images: Path, masks: Path) -> set[str]:
    """The images of the folders beside `images`, if `masks` may be meant for them as well.

    It is not if it lies beside `images` itself, nor if it has the name of one of those folders.
    """
    images, masks = resolved(images), resolved(masks)
    if masks.parent == images.parent or masks.name == images.name:
        return set()
    try:
        others = [path for path in images.parent.iterdir() if path.is_dir() and path != images]
        return {file.stem for folder in others for file in folder.iterdir()}
    except OSError:  # what may not be read accounts for nothing
        return set()
