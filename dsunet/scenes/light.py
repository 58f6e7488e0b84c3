"""Light: shading of rounded bodies, and the shadows that they cast."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dsunet.scenes.fields import Colours, Field, blurred, resized_field, side_of, smoothstep
from dsunet.scenes.noise import cloud


@dataclass(frozen=True, slots=True)
class Light:
    """`x` and `y` point to where the light comes from; `strength` 0 is overcast, 1 harsh sun."""

    x: float
    y: float
    strength: float


def random_light(rng: np.random.Generator) -> Light:
    """Draw a light, mostly from above."""
    angle = rng.uniform(-1.2, 1.2)
    return Light(float(np.sin(angle)), float(-np.cos(angle)), float(rng.beta(2, 2)))


def rounded(coverage: Field, size: float) -> Field:
    """The height of a body that bulges from its outline, in units of `size` pixels."""
    wide = blurred(coverage, size)
    narrow = blurred(coverage, size / 3)
    return coverage * (0.65 * wide + 0.35 * narrow)


def facing(height: Field, size: float, light: Light) -> Field:
    """How far a surface of this height faces the light, -1 to 1; 0 where it is flat."""
    soft = blurred(height, max(1.0, size / 8))
    down, across = np.gradient(soft * np.float32(2.2 * size))
    # The slope of the height points inwards: a side that faces the light rises away from it.
    towards = -across * light.x - down * light.y
    return np.asarray(towards / np.sqrt(1 + across**2 + down**2), np.float32)


def lit(colours: Colours, turned: Field, light: Light, relief: float, gloss: float) -> Colours:
    """A surface that is `turned` to the light, with a highlight if `gloss` is above 0."""
    factor = 1 + np.float32(relief * (0.2 + 0.6 * light.strength)) * turned
    highlight = np.float32(gloss) * smoothstep(turned, 0.45, 0.95)
    return np.asarray(colours * factor[..., None] + highlight[..., None], np.float32)


def cast_shadow(coverage: Field, light: Light, length: float) -> Field:
    """How dark the ground is beside a body, 0 to 1; `length` in pixels."""
    down, across = round(-light.y * length * 0.5), round(-light.x * length)
    moved = np.zeros_like(coverage)
    height, width = coverage.shape
    to_y, to_x = max(0, down), max(0, across)
    from_y, from_x = max(0, -down), max(0, -across)
    kept = coverage[from_y : height - to_y, from_x : width - to_x]
    moved[to_y : to_y + kept.shape[0], to_x : to_x + kept.shape[1]] = kept
    softness = max(1.5, length * (0.6 - 0.4 * light.strength))
    contact = blurred(coverage, max(1.5, 0.15 * length))
    return np.clip(
        (0.25 + 0.45 * light.strength) * blurred(moved, softness) + 0.3 * contact, 0, 0.8
    )


def uneven(colours: Colours, rng: np.random.Generator) -> Colours:
    """Light that falls off across the image, with dapples now and then."""
    shape = (colours.shape[0], colours.shape[1])
    small = (max(8, shape[0] // 8), max(8, shape[1] // 8))
    y, x = np.mgrid[-1 : 1 : small[0] * 1j, -1 : 1 : small[1] * 1j]
    slope = rng.normal(0, 0.12, 2)
    light = 1 + slope[0] * x + slope[1] * y
    if rng.random() < 0.25:
        light = light * (1 + 0.15 * np.tanh(1.5 * cloud(small, rng, 1.2, 3)))
    return colours * resized_field(light.astype(np.float32), shape)[..., None]


def half_thickness(coverage: Field) -> float:
    """Approximate half thickness of a body in pixels."""
    area = float(coverage.sum())
    edge = float(np.abs(np.diff(coverage, axis=0)).sum() + np.abs(np.diff(coverage, axis=1)).sum())
    return float(np.clip(1.6 * area / max(edge, 1.0), 2.0, side_of(coverage.shape) / 5))
