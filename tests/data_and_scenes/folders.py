"""Folders of images and masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from dsunet.data.pairs import Pair, find_pairs

LEFT_HALF = np.where(np.arange(40)[None] < 20, 0, 255).astype(np.uint8).repeat(30, axis=0)
"""A mask of 30×40 pixels: its right half is inside."""


def folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def write_image(path: Path, size: tuple[int, int] = (40, 30), **options: object) -> Path:
    Image.new("RGB", size, (10, 200, 30)).save(path, **options)
    return path


def write_mask(path: Path, mask: Image.Image | None = None, **options: object) -> Path:
    (mask or Image.fromarray(LEFT_HALF)).save(path, **options)
    return path


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


def cut_in_half(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def found(images: Path, masks: Path) -> list[Pair]:
    """The pairs of two folders without defects."""
    pairing = find_pairs(images, masks)
    assert not pairing.defects
    return list(pairing.pairs)
