"""Random choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def pick(rng: np.random.Generator, choices: Sequence[tuple[T, float]]) -> T:
    """One of the choices; the number beside each says how often, compared with the others."""
    weights = np.array([weight for _, weight in choices], float)
    index = rng.choice(len(choices), p=weights / weights.sum())
    return choices[index][0]
