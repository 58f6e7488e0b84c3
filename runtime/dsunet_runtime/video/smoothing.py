"""Masks without flicker: each is blended with those before and after it where the images agree.

A mask is averaged, pixel by pixel, with the masks of up to K frames before and K frames after it.
A frame counts where it shows the same as the frame in question: the weight is

    exp(-(d / S)²)        d: mean absolute difference of the images around the pixel

so that nothing is averaged where something moves, and nothing lags.  Nothing counts across a cut.
Images and masks are compared at the size at which the network computes its mask; only the
difference between the smoothed and the original mask is resampled, so that edges stay sharp.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from dsunet_runtime.video.reader import Place

_SIDE = 352
"""The longer side at which images and masks are compared: that of the network's mask."""
_SCALE = 6.0
"""S, in levels of 255."""
_RADIUS = 2
"""The difference of the images is that of squares of 2 · 2 + 1 pixels."""
_SAME_SCENE = 0.1
"""Neighbours that agree less than this, on average, are of two scenes."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Segmented:
    """A frame with its mask."""

    place: Place
    rgb: NDArray[np.uint8]
    """Upright, H×W×3."""
    mask: NDArray[np.uint8]
    """H×W."""


@dataclass(frozen=True, slots=True)
class _Small:
    """A frame at the working size, with its agreement with frames before it."""

    item: Segmented
    image: NDArray[np.int16]
    """h×w×3."""
    mask: Floats
    """h×w, 0 to 255."""
    agreement: dict[int, Floats]
    """By the number of frames between, h×w, 0 to 1; not beyond a cut."""


def smoothed(items: Iterator[Segmented], reach: int) -> Iterator[Segmented]:
    """Blend each mask with those of up to `reach` frames before and after; yield them in order.

    Each item is yielded `reach` items later, or when the iterator ends.
    """
    window: deque[_Small] = deque()
    place = 0  # of the next frame to yield, in the window
    for item in items:
        window.append(_compared(item, window, reach))
        if len(window) - place > reach:
            yield _blended(window, place)
            place += 1
        if place > reach:
            window.popleft()
            place -= 1
    while place < len(window):
        yield _blended(window, place)
        place += 1


def _compared(item: Segmented, before: deque[_Small], reach: int) -> _Small:
    """Bring a frame to the working size, and compare it with the frames before it."""
    size = _working_size(item.mask)
    image = np.asarray(_resized(item.rgb, size), np.int16)
    mask = np.asarray(_resized(item.mask, size), np.float32)
    agreement: dict[int, Floats] = {}
    for distance, other in enumerate(reversed(before), start=1):
        if distance > reach or other.image.shape != image.shape:
            break
        found = _agreement(image, other.image)
        if distance == 1 and found.mean() < _SAME_SCENE:
            break
        agreement[distance] = found
        if not other.agreement:  # the first of its scene
            break
    return _Small(item, image, mask, agreement)


def _blended(window: deque[_Small], place: int) -> Segmented:
    """Blend the mask of the frame at a place with those that agree with it."""
    this = window[place]
    weights = [(this.agreement.get(place - i), window[i]) for i in range(place)]
    weights += [
        (window[i].agreement.get(i - place), window[i]) for i in range(place + 1, len(window))
    ]
    total = np.ones_like(this.mask)
    change = np.zeros_like(this.mask)
    for weight, other in weights:
        if weight is not None:
            total += weight
            change += weight * (other.mask - this.mask)
    change /= total
    height, width = this.item.mask.shape
    whole = Image.fromarray(change).resize((width, height), Image.Resampling.BILINEAR)
    levels = np.asarray(whole, np.float32) + this.item.mask
    levels += np.float32(0.5)
    return replace(this.item, mask=levels.clip(0, 255).astype(np.uint8))


def _agreement(one: NDArray[np.int16], other: NDArray[np.int16]) -> Floats:
    """Return how well two images agree around each pixel, h×w, 0 to 1."""
    difference = np.abs(one - other).sum(axis=2).clip(0, 255).astype(np.uint8)
    around = Image.fromarray(difference).filter(ImageFilter.BoxBlur(_RADIUS))
    weights: Floats = _WEIGHTS[np.asarray(around)]
    return weights


def _working_size(mask: NDArray[np.uint8]) -> tuple[int, int]:
    """Width and height, at most those of the mask."""
    height, width = mask.shape
    scale = min(1.0, _SIDE / max(height, width))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _resized(pixels: NDArray[np.uint8], size: tuple[int, int]) -> Image.Image:
    image = Image.fromarray(pixels)
    return image if image.size == size else image.resize(size, Image.Resampling.BOX)


_WEIGHTS = np.exp(-((np.arange(256) / (3 * _SCALE)) ** 2)).astype(np.float32)
"""By the sum of the differences of the three colours."""
