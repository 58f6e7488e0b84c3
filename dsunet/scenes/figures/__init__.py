"""Figures: outlines of objects, in parts that have materials of their own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dsunet.scenes.chance import pick
from dsunet.scenes.figures.animals import bird, butterfly, crab, fish, portrait, quadruped, snake
from dsunet.scenes.figures.parts import Figure, Part, Stance, Stuff
from dsunet.scenes.figures.people import bust, person
from dsunet.scenes.figures.plants import blob, leaf, mushroom, star
from dsunet.scenes.figures.things import chair, solid, vehicle, vessel

__all__ = ["Figure", "Make", "Part", "Stance", "Stuff", "random_make"]

Make = Callable[[np.random.Generator], Figure]
"""Draws a random figure of one sort."""

# With how often each is drawn, compared with the others.
_FIGURES: tuple[tuple[Make, float], ...] = (
    (blob, 1.2), (solid, 1.0), (quadruped, 2.2), (portrait, 1.6), (bust, 1.6), (person, 2.2),
    (bird, 1.5), (fish, 1.0), (crab, 1.2), (star, 0.8), (leaf, 0.6), (butterfly, 0.8),
    (vessel, 1.1), (vehicle, 0.9), (chair, 0.7), (mushroom, 0.8), (snake, 0.5),
)  # fmt: skip


def random_make(rng: np.random.Generator) -> Make:
    """A random sort of figure."""
    return pick(rng, _FIGURES)
