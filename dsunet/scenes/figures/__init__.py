"""Figures: outlines of objects, in parts with materials of their own.

parts                 Figure, its parts, the roles of their materials, and its stance
animals               quadrupeds, portraits, birds, fish, crabs, butterflies, snakes
people                a person, whole or from the chest up
plants                leaves, stars, mushrooms, and lumps of any kind
manufactured_objects  solids, vessels, vehicles, furniture
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dsunet.scenes.figures.animals import bird, butterfly, crab, fish, portrait, quadruped, snake
from dsunet.scenes.figures.manufactured_objects import chair, solid, vehicle, vessel
from dsunet.scenes.figures.parts import Figure, Part, Role, Stance
from dsunet.scenes.figures.people import bust, person
from dsunet.scenes.figures.plants import blob, leaf, mushroom, star
from dsunet.scenes.weighted_choice import weighted_choice

__all__ = ["Figure", "FigureKind", "Part", "Role", "Stance", "random_figure_kind"]

FigureKind = Callable[[np.random.Generator], Figure]
"""A kind of figure: a function that draws a random one."""

# With the relative frequency of each.
_FIGURES: tuple[tuple[FigureKind, float], ...] = (
    (blob, 1.2), (solid, 1.0), (quadruped, 2.2), (portrait, 1.6), (bust, 1.6), (person, 2.2),
    (bird, 1.5), (fish, 1.0), (crab, 1.2), (star, 0.8), (leaf, 0.6), (butterfly, 0.8),
    (vessel, 1.1), (vehicle, 0.9), (chair, 0.7), (mushroom, 0.8), (snake, 0.5),
)  # fmt: skip


def random_figure_kind(rng: np.random.Generator) -> FigureKind:
    """Draw a kind of figure."""
    return weighted_choice(rng, _FIGURES)
