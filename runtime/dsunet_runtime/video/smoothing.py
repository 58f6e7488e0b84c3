"""Temporal smoothing of masks against flicker, compensated for motion.

A mask is averaged, pixel by pixel, with the masks of up to K frames before and K frames after it,
each shifted by the motion between the images.  The weight is high where the shifted images agree:

    weight = exp(-(d / S)²)        d: mean absolute difference of the images around the pixel

so that different things are not averaged, and masks do not lag.  The motion of a pixel is the best
of three translations: none, and the two strongest by phase correlation, mostly those of the camera
and of an object.  Frames across a cut have no weight.

Images and masks are compared at the size at which the network computes its mask.  Only the
difference between the smoothed and the original mask is resampled, so that edges stay sharp.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from dsunet_runtime.video.reader import FrameInfo

_SIDE = 352
"""The longer side at which images and masks are compared: that of the network's mask."""
_SCALE = 6.0
"""S, in levels of 255."""
_RADIUS = 2
"""Standard deviation in pixels of the Gaussian around a pixel in which images are compared."""
_NEIGHBOURHOOD = 5
"""Radius of the square around a pixel in which one movement is chosen."""
_MOVEMENTS = 2
_PEAK = 2
"""Radius in pixels of a peak of the phase correlation."""
_SAME_SCENE = 0.15
"""Mean agreement of two consecutive frames, weighted by structure, below which there is a cut."""

Floats = NDArray[np.float32]
Movement = tuple[int, int]
"""Rows and columns."""


@dataclass(frozen=True, slots=True)
class SegmentedFrame:
    """A frame with its mask."""

    info: FrameInfo
    rgb: NDArray[np.uint8]
    """Upright, H×W×3."""
    mask: NDArray[np.uint8]
    """H×W."""


@dataclass(frozen=True, slots=True)
class _Match:
    """Agreement of a frame with a shifted earlier one."""

    movement: Movement
    agreement: Floats
    """h×w, 0 to 1; 0 where the shifted frame has no pixels."""
    fit: NDArray[np.uint8]
    """h×w: the agreement of the neighbourhood, by which movements are compared."""


@dataclass(frozen=True, slots=True)
class _Small:
    """A frame at the size at which frames are compared."""

    item: SegmentedFrame
    image: NDArray[np.int16]
    """h×w×3."""
    mask: Floats
    """h×w, 0 to 255."""
    structure: Floats
    """h×w: differences of the brightness between adjacent pixels."""
    spectrum: NDArray[np.complexfloating]
    """Fourier transform of its brightness."""
    matches: dict[int, list[_Match]] = field(default_factory=dict)
    """Matches with earlier frames of its scene, by their distance in frames."""


def smooth_masks(items: Iterator[SegmentedFrame], reach: int) -> Iterator[SegmentedFrame]:
    """Average each mask with those of up to `reach` frames before and after; yield all in order.

    A frame is yielded after `reach` further ones, or when the iterator ends.
    """
    window: deque[_Small] = deque()
    position = 0  # of the next frame to yield, in the window
    for item in items:
        window.append(_compared(item, window, reach))
        if len(window) - position > reach:
            yield _blended(window, position)
            position += 1
        if position > reach:
            window.popleft()
            position -= 1
    while position < len(window):
        yield _blended(window, position)
        position += 1


def _compared(item: SegmentedFrame, before: deque[_Small], reach: int) -> _Small:
    """Resize a frame to the working size, and compare it with the frames before it."""
    size = _working_size(item.mask)
    image = np.asarray(_resized(item.rgb, size), np.int16)
    mask = np.asarray(_resized(item.mask, size), np.float32)
    grey = image.sum(axis=2).astype(np.float32)
    new = _Small(item, image, mask, _structure(grey), _spectrum(grey))
    for distance, other in enumerate(reversed(before), start=1):
        if distance > reach or other.image.shape != image.shape:
            break
        found = _matches(new, other)
        if distance == 1 and _is_cut(new, other, found):
            break
        new.matches[distance] = found
        if not other.matches:  # the first of its scene
            break
    return new


def _is_cut(new: _Small, old: _Small, matches: Sequence[_Match]) -> bool:
    """Whether two frames show different scenes; flat parts, such as black bars, do not count."""
    agreement = np.max([match.agreement for match in matches], axis=0)
    structure = new.structure + old.structure
    return float((agreement * structure).sum()) < _SAME_SCENE * float(structure.sum())


def _blended(window: deque[_Small], position: int) -> SegmentedFrame:
    """Average the mask of the frame at a position of the window with those of its matches."""
    this = window[position]
    total = np.ones_like(this.mask)
    change = np.zeros_like(this.mask)
    for index, other in enumerate(window):
        later, earlier = (other, this) if index > position else (this, other)
        matches = later.matches.get(abs(index - position))
        if matches is None:  # itself, or of another scene
            continue
        weight, mask = _moved_here(matches, other.mask, backwards=other is not earlier)
        total += weight
        change += weight * (mask - this.mask)
    change /= total
    height, width = this.item.mask.shape
    whole = Image.fromarray(change).resize((width, height), Image.Resampling.BILINEAR)
    levels = np.asarray(whole, np.float32) + this.item.mask
    levels += np.float32(0.5)
    return replace(this.item, mask=levels.clip(0, 255).astype(np.uint8))


def _moved_here(
    matches: Sequence[_Match], mask: Floats, *, backwards: bool
) -> tuple[Floats, Floats]:
    """Return weight and mask of another frame, shifted by the best movement for each pixel."""
    weight, moved, fit = np.zeros_like(mask), mask, np.zeros(mask.shape, np.uint8)
    for match in matches:
        down, right = match.movement
        movement, agreement, its_fit = match.movement, match.agreement, match.fit
        if backwards:
            movement = (-down, -right)
            agreement, its_fit = _moved(agreement, movement), _moved(its_fit, movement)
        better = its_fit > fit
        weight = np.where(better, agreement, weight)
        moved = np.where(better, _moved(mask, movement), moved)
        fit = np.maximum(its_fit, fit)
    return weight, moved


def _matches(new: _Small, old: _Small) -> list[_Match]:
    there = np.ones_like(new.mask)
    found = []
    for movement in _movements(new, old):
        agreement = _agreement(new.image, _moved(old.image, movement)) * _moved(there, movement)
        levels = Image.fromarray((255 * agreement).astype(np.uint8))
        fit = np.asarray(levels.filter(ImageFilter.BoxBlur(_NEIGHBOURHOOD)))
        found.append(_Match(movement, agreement, fit))
    return found


def _movements(new: _Small, old: _Small) -> list[Movement]:
    """Return the null movement and the strongest ones from the old to the new frame."""
    height, width = new.mask.shape
    product = new.spectrum * np.conj(old.spectrum)
    size = np.abs(product)
    product /= size + np.float32(1e-3) * size.mean() + np.float32(1e-9)
    correlation = np.fft.irfft2(product, s=(height, width))
    found = [(0, 0)]
    for _ in range(_MOVEMENTS):
        row, column = divmod(int(correlation.argmax()), width)
        around = np.arange(-_PEAK, _PEAK + 1)
        correlation[np.ix_((row + around) % height, (column + around) % width)] = -np.inf
        down = row - height if row > height // 2 else row
        right = column - width if column > width // 2 else column
        if (down, right) not in found:
            found.append((down, right))
    return found


def _structure(grey: Floats) -> Floats:
    down = np.diff(grey, axis=0, append=grey[-1:])
    right = np.diff(grey, axis=1, append=grey[:, -1:])
    return np.asarray(np.abs(down) + np.abs(right))


def _spectrum(grey: Floats) -> NDArray[np.complexfloating]:
    return np.fft.rfft2((grey - grey.mean()) * _fade_out(grey.shape)).astype(np.complex64)


@cache
def _fade_out(shape: tuple[int, int]) -> Floats:
    """Weights that hide the borders from the Fourier transform."""
    rows, columns = (np.hanning(side + 2)[1:-1] for side in shape)
    return np.outer(rows, columns).astype(np.float32)


def _agreement(one: NDArray[np.int16], other: NDArray[np.int16]) -> Floats:
    """Return how well two images agree around each pixel, h×w, 0 to 1."""
    difference = np.abs(one - other).sum(axis=2).clip(0, 255).astype(np.uint8)
    around = Image.fromarray(difference).filter(ImageFilter.GaussianBlur(_RADIUS))
    weights: Floats = _WEIGHTS[np.asarray(around)]
    return weights


def _moved(pixels: NDArray[Any], movement: Movement) -> NDArray[Any]:
    """Shift an array h×w or h×w×3 down and to the right, and fill with 0."""
    if movement == (0, 0):
        return pixels
    (rows, from_rows), (columns, from_columns) = (
        (slice(max(0, by), size + min(0, by)), slice(max(0, -by), size - max(0, by)))
        for by, size in zip(movement, pixels.shape, strict=False)
    )
    moved = np.zeros_like(pixels)
    moved[rows, columns] = pixels[from_rows, from_columns]
    return moved


def _working_size(mask: NDArray[np.uint8]) -> tuple[int, int]:
    """Width and height, at most those of the mask."""
    height, width = mask.shape
    scale = min(1.0, _SIDE / max(height, width))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _resized(pixels: NDArray[np.uint8], size: tuple[int, int]) -> Image.Image:
    image = Image.fromarray(pixels)
    return image if image.size == size else image.resize(size, Image.Resampling.BOX)


_WEIGHTS = np.exp(-((np.arange(256) / (3 * _SCALE)) ** 2)).astype(np.float32)
"""Weights by the sum of the differences of the three channels."""
