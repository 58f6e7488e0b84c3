"""Plants: leaves, flowers, mushrooms; and lumps of any kind."""

from __future__ import annotations

import numpy as np

from dsunet.scenes.figures.parts import Figure, Part, Role, Stance
from dsunet.scenes.outlines import ellipse, fourier, limb, turned


def blob(rng: np.random.Generator) -> Figure:
    """A smooth body, sometimes with a second one: stones, fruit, slugs, lumps."""
    polygons = [fourier(rng, rng.uniform(0.05, 0.3)) * (1, rng.uniform(0.5, 1))]
    if rng.random() < 0.4:
        offset = turned(np.array([[rng.uniform(0.7, 1.2), 0.0]]), rng.uniform(0, 6.3))
        polygons.append(fourier(rng, 0.15) * rng.uniform(0.4, 0.8) + offset)
    parts = [Part(polygons)]
    if rng.random() < 0.3:
        parts.append(Part([fourier(rng, 0.2) * 0.5], Role.SECOND, detail=True))
    return Figure(parts, Stance.FREE)


def star(rng: np.random.Generator) -> Figure:
    """Arms or petals around a middle: starfish, flowers, leaves of a palm."""
    count = int(rng.integers(4, 10))
    deep = rng.uniform(0.3, 0.75)
    t = np.linspace(0, 2 * np.pi, 240, endpoint=False)
    wave = (0.5 + 0.5 * np.cos(count * t)) ** rng.uniform(0.4, 2)
    radius = 1 - deep + deep * wave + 0.05 * np.cos(2 * t + rng.uniform(0, 6))
    outline = np.stack([radius * np.cos(t), radius * np.sin(t) * rng.uniform(0.7, 1)], 1)
    parts = [Part([outline])]
    if rng.random() < 0.6:
        parts.append(Part([ellipse(0, 0, 0.3, 0.28)], Role.SECOND, detail=True))
    if rng.random() < 0.3:
        parts.insert(
            0, Part(limb([(0, 0), (0.3, 1.2), (0.2, 2.2)], [0.07, 0.06, 0.06]), Role.THIRD)
        )
    return Figure(parts, Stance.FREE)


def leaf(rng: np.random.Generator) -> Figure:
    """A leaf with its stem and midrib."""
    t = np.linspace(-1, 1, 50)
    half = rng.uniform(0.25, 0.6) * (1 - t**2) ** rng.uniform(0.7, 1.2) * (1 - 0.35 * t)
    half *= 1 + 0.06 * np.sin(t * rng.uniform(10, 40))
    bend = 0.3 * rng.standard_normal() * t**2
    outline = np.concatenate([np.stack([t, bend - half], 1), np.stack([t, bend + half], 1)[::-1]])
    rib = np.concatenate([np.stack([t, bend - 0.02], 1), np.stack([t, bend + 0.02], 1)[::-1]])
    stem = limb([(-0.95, float(bend[0])), (-1.5, float(bend[0]) + 0.2)], [0.035, 0.03])
    return Figure([Part(stem), Part([outline]), Part([rib], Role.SECOND, detail=True)], Stance.FREE)


def mushroom(rng: np.random.Generator) -> Figure:
    """A cap on a stem: mushrooms, small trees, lamps, umbrellas."""
    t = np.linspace(np.pi, 2 * np.pi, 40)
    cap = np.stack([np.cos(t), rng.uniform(0.4, 1.1) * np.sin(t)], 1)
    cap = np.concatenate([cap, [[0.8, 0.15], [-0.8, 0.15]]])
    thick = rng.uniform(0.06, 0.3)
    stem = limb([(0, 0), (rng.uniform(-0.2, 0.2), rng.uniform(0.9, 1.6))], [thick, thick * 1.15])
    return Figure([Part(stem, Role.SECOND), Part([cap])], Stance.UPRIGHT)
