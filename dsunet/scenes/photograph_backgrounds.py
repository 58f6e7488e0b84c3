"""Backgrounds from photographs: a crop, perhaps with pieces of another photograph on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dsunet.scenes.background import SceneBackground
from dsunet.scenes.fields import Colours, Shape, blurred, side_of
from dsunet.scenes.image_sources import random_file, read_photograph
from dsunet.scenes.outlines import coverage, ellipse, turned

_DISTRACTED = 0.15  # fraction of backgrounds with pieces of another photograph
_CROP = (0.35, 1.0)  # side of the crop, relative to the largest of its aspect ratio
_SHIFT = 0.25  # of the image's side, at most


@dataclass(frozen=True, slots=True, eq=False)
class BackgroundMaterial:
    """What a background shows nearby: the background itself, shifted and mirrored.

    Painted over an object, it gives every part of it the texture and colours of what is behind.
    """

    background: Colours
    tint: float | NDArray[np.float32] = 1.0

    def paint(self, shape: Shape, rng: np.random.Generator) -> Colours:
        """A sample of the material, H×W×3."""
        height, width = self.background.shape[:2]
        reach = _SHIFT * side_of((height, width))
        down, across = (round(reach * rng.uniform(0.3, 1) * rng.choice((-1, 1))) for _ in range(2))
        rows = _mirrored(np.arange(shape[0]) + down, height)
        columns = _mirrored(np.arange(shape[1]) + across, width)
        return np.asarray(self.background[np.ix_(rows, columns)] * self.tint, np.float32)

    def related(self, rng: np.random.Generator, amount: float) -> BackgroundMaterial:
        """A variant that differs by `amount`, 0 to 1, in brightness and colour."""
        tint = 1 + 0.06 * amount * rng.standard_normal(3)
        tint *= np.exp(0.3 * amount * rng.choice((-1, 1)))
        return replace(self, tint=np.asarray(self.tint * tint, np.float32))


def background_from_photographs(
    photographs: Sequence[Path], shape: Shape, rng: np.random.Generator
) -> SceneBackground:
    """A background from one of these files, perhaps with pieces of another."""
    sources = [random_file(rng, photographs)]
    colours = _crop(read_photograph(sources[0]), shape, rng)
    if rng.random() < _DISTRACTED:
        sources.append(random_file(rng, photographs))
        other = _crop(read_photograph(sources[1]), shape, rng)
        for _ in range(int(rng.integers(1, 3))):
            colours = _with_piece(colours, other, rng)
    return SceneBackground(colours, [BackgroundMaterial(colours)], tuple(sources))


def _crop(photograph: NDArray[np.uint8], shape: Shape, rng: np.random.Generator) -> Colours:
    """A random crop with the aspect ratio of `shape`, resized to it, perhaps mirrored."""
    height, width = photograph.shape[:2]
    scale = min(height / shape[0], width / shape[1]) * rng.uniform(*_CROP)
    high, wide = shape[0] * scale, shape[1] * scale
    top, left = rng.uniform(0, height - high), rng.uniform(0, width - wide)
    image = Image.fromarray(photograph).resize(
        (shape[1], shape[0]), Image.Resampling.LANCZOS, (left, top, left + wide, top + high)
    )
    colours = np.asarray(image, np.float32) / np.float32(255)
    return colours[:, ::-1] if rng.random() < 0.5 else colours


def _with_piece(colours: Colours, other: Colours, rng: np.random.Generator) -> Colours:
    """Lay a rectangle or an ellipse of another photograph on a background.

    It is flat, with colours close to those around: a poster, a window, a patch of other ground.
    """
    shape = (colours.shape[0], colours.shape[1])
    middle = rng.uniform(0, 1, 2) * (shape[1], shape[0])
    half = side_of(shape) * rng.uniform(0.05, 0.3, 2)
    angle = rng.normal(0, 0.15)
    if rng.random() < 0.3:
        outline = ellipse(middle[0], middle[1], half[0], half[1], angle)
    else:
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
        outline = turned(corners, angle) + middle
    cover = coverage([outline], shape)
    if rng.random() < 0.5:
        cover = blurred(cover, side_of(shape) * rng.uniform(0.005, 0.05))
    tone = colours.mean((0, 1)) - other.mean((0, 1))
    piece = other + rng.uniform(0.3, 1.0) * tone
    return np.asarray(colours + (piece - colours) * cover[..., None], np.float32)


def _mirrored(index: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Indices reflected at 0 and at `length` into the range from 0 to `length` - 1."""
    folded = np.abs(index) % (2 * length)
    return np.where(folded < length, folded, 2 * length - 1 - folded)
