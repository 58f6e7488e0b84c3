"""Fields: float32 arrays H×W that textures, outlines and light are made of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.float32]
"""Values over the image, H×W."""

Colours = NDArray[np.float32]
"""An image H×W×3, RGB, 0 to 1."""

Shape = tuple[int, int]
"""Height and width."""


LUMINANCE = np.array([0.3, 0.59, 0.11], np.float32)
"""Weights of red, green and blue in a grey value."""


def side_of(shape: Shape) -> float:
    """Side of a square of the same area in pixels, the unit of sizes."""
    return float(np.sqrt(shape[0] * shape[1]))


def coordinates(shape: Shape, angle: float = 0.0) -> tuple[Field, Field]:
    """X and y of every pixel in units of `side_of`, rotated by `angle` in radians."""
    side = side_of(shape)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32) / np.float32(side)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return x * cos + y * sin, y * cos - x * sin


def resized_field(field: Field, shape: Shape) -> Field:
    """Resize a field, with interpolation when enlarged and averaging when reduced."""
    image = Image.fromarray(field)
    return np.asarray(image.resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def blurred(field: Field, sigma: float) -> Field:
    """Blur a field approximately by a Gaussian of `sigma` pixels."""
    if sigma < 0.3:
        return field
    if sigma < 2.0:
        return _convolved(field, sigma)
    # A reduced image has lost what a blur takes away; a little blur hides the grid.
    factor = sigma / 1.2
    height, width = field.shape
    small = (max(2, round(height / factor)), max(2, round(width / factor)))
    return resized_field(_convolved(resized_field(field, small), 1.0), (height, width))


def blurred_colours(colours: Colours, sigma: float) -> Colours:
    """Blur each channel of an image like `blurred`."""
    return np.stack([blurred(colours[..., c], sigma) for c in range(3)], -1)


def smoothstep(field: Field, low: float, high: float) -> Field:
    """Smoothstep: 0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((field - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def squashed(field: Field) -> Field:
    """Convert a field of mean 0 and deviation 1 to uniformly distributed values, 0 to 1."""
    return np.asarray(0.5 + 0.5 * np.tanh(np.float32(0.85) * field), np.float32)


def _convolved(field: Field, sigma: float) -> Field:
    radius = max(1, int(np.ceil(2.5 * sigma)))
    steps = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (steps / sigma) ** 2)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    padded = np.pad(field, radius, mode="edge")
    height, width = field.shape
    down = sum(k * padded[i : i + height] for i, k in enumerate(kernel))
    across = sum(k * down[:, i : i + width] for i, k in enumerate(kernel))
    return np.asarray(across, np.float32)
