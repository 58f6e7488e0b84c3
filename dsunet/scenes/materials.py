"""Materials: patterns in colours."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dsunet.scenes.fields import Colours, Shape
from dsunet.scenes.noise import drift
from dsunet.scenes.palettes import Ramp
from dsunet.scenes.patterns import Family, Pattern, random_pattern


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """A pattern in colours.  `mottling` is how strongly its colours drift from place to place."""

    pattern: Pattern
    ramp: Ramp
    mottling: float


def random_material(rng: np.random.Generator, families: tuple[Family, ...], ramp: Ramp) -> Material:
    """A material with a pattern of these families and with these colours."""
    return Material(random_pattern(rng, families), ramp, mottling=float(rng.uniform(0.0, 0.07)))


def related(material: Material, rng: np.random.Generator, amount: float) -> Material:
    """Vary a material by `amount`, 0 to 1, in scale, direction, brightness and colour."""
    pattern = replace(
        material.pattern,
        frequency=material.pattern.frequency * float(2 ** (amount * rng.choice((-1, 1)))),
        angle=material.pattern.angle + amount * float(rng.uniform(-1.5, 1.5)),
    )
    tint = 1 + 0.09 * amount * rng.standard_normal(3)
    # Lighter or darker, whichever there is room for.
    step = (0.1 * amount + 0.02) * (1 if rng.random() > material.ramp.mean() else -1)
    ramp = np.clip((material.ramp + step) * tint, 0.01, 1).astype(np.float32)
    return replace(material, pattern=pattern, ramp=ramp)


def paint(material: Material, shape: Shape, rng: np.random.Generator) -> Colours:
    """A sample of a material over the image."""
    pattern = material.pattern
    values = np.clip(pattern.draw(pattern, shape, rng), 0, 1)
    knots = np.linspace(0, 1, len(material.ramp))
    steps = np.linspace(0, 1, 256)
    table = np.stack([np.interp(steps, knots, material.ramp[:, c]) for c in range(3)], 1)
    colours = table.astype(np.float32).take((values * 255).astype(np.uint8), axis=0)
    if material.mottling:
        slow = drift(shape, rng, 1.6)
        tint = (1 + 0.5 * rng.standard_normal(3)).astype(np.float32)
        colours += slow[..., None] * (np.float32(material.mottling) * tint)
    return colours
