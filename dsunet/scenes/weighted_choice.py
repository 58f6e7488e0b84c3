"""Random choice with weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def weighted_choice(rng: np.random.Generator, choices: Sequence[tuple[T, float]]) -> T:
    """Choose one of the items; the number beside each is its relative weight."""
    weights = np.array([weight for _, weight in choices], float)
    index = rng.choice(len(choices), p=weights / weights.sum())
    return choices[index][0]
