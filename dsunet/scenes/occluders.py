"""Occluders: stems, bars and leaves of the background that pass in front of the object."""

from __future__ import annotations

import numpy as np

from dsunet.scenes.fields import Colours, Field, Shape, blurred, side_of
from dsunet.scenes.materials import Material
from dsunet.scenes.outlines import Points, coverage, limb, turned

_LEAF = np.array(
    [[-1, 0], [-0.6, -0.22], [0, -0.32], [0.5, -0.2], [1, 0], [0.5, 0.2], [0, 0.32], [-0.6, 0.22]]
)


def occlude(
    colours: Colours, material: Material, rng: np.random.Generator
) -> tuple[Colours, Field]:
    """The image behind stems, bars or leaves of a material of its background, and their coverage.

    They run through the whole image, so that they are seen to belong to the background.
    """
    shape = (colours.shape[0], colours.shape[1])
    polygons = _stems(shape, rng) if rng.random() < 0.65 else _sprigs(shape, rng)
    cover = coverage(polygons, shape)
    thick = max(1.0, 0.008 * side_of(shape))
    surface = material.paint(shape, rng)
    # Backlit or lit, so that it contrasts with the background.
    surface *= rng.uniform(0.3, 0.6) if surface.mean() > 0.35 else rng.uniform(1.6, 2.2)
    surface *= (0.55 + 0.5 * blurred(cover, thick))[..., None]
    if rng.random() < 0.4:
        cover = blurred(cover, thick * rng.uniform(0.5, 1.5))
    return colours + (surface - colours) * cover[..., None], cover


def _stems(shape: Shape, rng: np.random.Generator) -> list[Points]:
    """Nearly parallel stems or bars from border to border."""
    side, middle = side_of(shape), np.array([shape[1], shape[0]]) / 2
    lean = rng.normal(0, 0.3) if rng.random() < 0.8 else rng.uniform(0, np.pi)
    polygons: list[Points] = []
    straight = rng.random() < 0.4
    for at in rng.uniform(-0.7, 0.7, int(rng.integers(2, 7))):
        y = np.linspace(-0.9, 0.9, 7)
        bend = 0.0 if straight else rng.normal(0, 0.08)
        line = (
            turned(np.stack([at + bend * y**2, y], 1), lean + rng.normal(0, 0.05)) * side + middle
        )
        thick = side * rng.uniform(0.006, 0.02)
        polygons += limb([(float(a), float(b)) for a, b in line], [thick] * 7)
    return polygons


def _sprigs(shape: Shape, rng: np.random.Generator) -> list[Points]:
    """Twigs with leaves that reach in from a border."""
    side, middle = side_of(shape), np.array([shape[1], shape[0]]) / 2
    polygons: list[Points] = []
    for _ in range(int(rng.integers(2, 6))):
        edge, axis = rng.random(2), int(rng.integers(2))
        edge[axis] = round(edge[axis])
        edge *= (shape[1], shape[0])
        inward = middle - edge
        heading = np.arctan2(inward[1], inward[0]) + rng.normal(0, 0.4)
        size = side * rng.uniform(0.02, 0.05)
        count = int(rng.integers(4, 11))
        knots = edge + np.outer(np.arange(count) * size * 0.8, (np.cos(heading), np.sin(heading)))
        twig = [(float(x), float(y)) for x, y in knots]
        polygons += limb(twig, [max(0.6, 0.08 * size)] * count)
        for step, knot in enumerate(knots):
            turn = heading + (0.9 if step % 2 else -0.9) + rng.normal(0, 0.2)
            outward = size * np.array([np.cos(turn), np.sin(turn)])
            polygons.append(turned(_LEAF * size, turn) + knot + outward)
    return polygons
