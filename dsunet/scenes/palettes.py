"""Colour ramps: a few related colours, typical of natural or of manufactured objects."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray

Ramp = NDArray[np.float32]
"""Colours K×3, RGB, 0 to 1, from a texture's lowest to its highest values."""

# Mean and standard deviation of hue, saturation and value of common colours in photographs.
_NATURAL = (
    ((0.27, 0.45, 0.38), (0.04, 0.15, 0.15)),  # leaves
    ((0.20, 0.45, 0.50), (0.03, 0.15, 0.15)),  # dry grass
    ((0.08, 0.45, 0.38), (0.02, 0.15, 0.16)),  # wood, earth
    ((0.10, 0.30, 0.68), (0.02, 0.10, 0.12)),  # sand
    ((0.07, 0.12, 0.50), (0.05, 0.08, 0.20)),  # rock, walls
    ((0.58, 0.35, 0.72), (0.03, 0.15, 0.18)),  # sky
    ((0.52, 0.45, 0.42), (0.05, 0.15, 0.15)),  # water
    ((0.60, 0.08, 0.85), (0.10, 0.06, 0.10)),  # snow, mist
    ((0.60, 0.20, 0.16), (0.20, 0.15, 0.08)),  # night, shade
)
_SKIN = ((0.055, 0.45, 0.68), (0.012, 0.10, 0.18))


def natural_ramp(rng: np.random.Generator) -> Ramp:
    """The colours of leaves, earth, sand, rock, sky, water, snow or shade."""
    return _ramp(rng, *_NATURAL[rng.integers(len(_NATURAL))])


def vivid_ramp(rng: np.random.Generator) -> Ramp:
    """Any colours: paint, cloth, petals, plumage."""
    middle = (rng.random(), rng.beta(2.2, 1.6), rng.uniform(0.15, 0.95))
    return _ramp(rng, middle, (0.03, 0.12, 0.14))


def fur_ramp(rng: np.random.Generator) -> Ramp:
    """White, grey, black, brown, ginger or cream."""
    warm = rng.random() < 0.6
    middle = (
        rng.uniform(0.05, 0.11),
        rng.uniform(0.2, 0.7) if warm else 0.06,
        rng.uniform(0.1, 0.95),
    )
    return _ramp(rng, middle, (0.015, 0.08, 0.14))


def skin_ramp(rng: np.random.Generator) -> Ramp:
    """A person's skin."""
    return _ramp(rng, *_SKIN) * np.float32(0.15) + np.float32(0.85) * _ramp(rng, *_SKIN)[:1]


def distance(first: Ramp, second: Ramp) -> float:
    """Distance of the mean colours of two ramps or images: 0.05 is small, 0.4 is large."""
    red, green, blue = first.reshape(-1, 3).mean(0) - second.reshape(-1, 3).mean(0)
    light = 0.3 * red + 0.6 * green + 0.1 * blue
    return float(
        np.sqrt(light**2 + 0.35 * (red - green) ** 2 + 0.2 * (blue - (red + green) / 2) ** 2)
    )


def _ramp(
    rng: np.random.Generator,
    middle: tuple[float, float, float],
    deviation: tuple[float, float, float],
) -> Ramp:
    count = int(rng.integers(2, 6))
    hue, saturation, value = (
        m + s * rng.standard_normal() for m, s in zip(middle, deviation, strict=True)
    )
    contrast = rng.uniform(0.06, 0.4)
    values = value + contrast * (np.sort(rng.random(count)) - 0.5)
    colours = [
        colorsys.hsv_to_rgb(
            (hue + 0.6 * deviation[0] * rng.standard_normal()) % 1,
            float(np.clip(saturation + 0.5 * deviation[1] * rng.standard_normal(), 0, 1)),
            float(np.clip(v, 0.02, 1)),
        )
        for v in values
    ]
    return np.asarray(colours, np.float32)
