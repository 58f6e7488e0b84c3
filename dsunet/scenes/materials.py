"""Materials: surfaces that can be painted over any area, drawn as textures in colours."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from dsunet.scenes.fields import Colours, Shape
from dsunet.scenes.noise import drift
from dsunet.scenes.palettes import Ramp
from dsunet.scenes.textures import Family, Texture, random_texture


class Material(Protocol):
    """A surface without bounds."""

    def paint(self, shape: Shape, rng: np.random.Generator) -> Colours:
        """A sample of the material, H×W×3."""

    def related(self, rng: np.random.Generator, amount: float) -> Material:
        """A variant: another scale, direction, brightness and colour by `amount`, 0 to 1."""


@dataclass(frozen=True, slots=True, eq=False)
class DrawnMaterial:
    """A texture in colours.  `mottling` is the strength of slow colour drifts."""

    texture: Texture
    ramp: Ramp
    mottling: float

    def paint(self, shape: Shape, rng: np.random.Generator) -> Colours:
        """A sample of the material, H×W×3."""
        values = np.clip(self.texture.draw(self.texture, shape, rng), 0, 1)
        knots = np.linspace(0, 1, len(self.ramp))
        steps = np.linspace(0, 1, 256)
        table = np.stack([np.interp(steps, knots, self.ramp[:, c]) for c in range(3)], 1)
        colours = table.astype(np.float32).take((values * 255).astype(np.uint8), axis=0)
        if self.mottling:
            slow = drift(shape, rng, 1.6)
            tint = (1 + 0.5 * rng.standard_normal(3)).astype(np.float32)
            colours += slow[..., None] * (np.float32(self.mottling) * tint)
        return colours

    def related(self, rng: np.random.Generator, amount: float) -> DrawnMaterial:
        """A variant that differs by `amount`, 0 to 1."""
        texture = replace(
            self.texture,
            frequency=self.texture.frequency * float(2 ** (amount * rng.choice((-1, 1)))),
            angle=self.texture.angle + amount * float(rng.uniform(-1.5, 1.5)),
        )
        tint = 1 + 0.09 * amount * rng.standard_normal(3)
        # Lighter or darker, whichever there is room for.
        step = (0.1 * amount + 0.02) * (1 if rng.random() > self.ramp.mean() else -1)
        ramp = np.clip((self.ramp + step) * tint, 0.01, 1).astype(np.float32)
        return replace(self, texture=texture, ramp=ramp)


def random_material(
    rng: np.random.Generator, families: tuple[Family, ...], ramp: Ramp
) -> DrawnMaterial:
    """A material with a texture of these families and with these colours."""
    return DrawnMaterial(
        random_texture(rng, families), ramp, mottling=float(rng.uniform(0.0, 0.07))
    )
