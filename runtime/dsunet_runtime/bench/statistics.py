"""Percentiles of latencies, and ratios that say how sure they are."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

_SURE = 0.95


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds of one call."""

    minimum: float
    median: float
    mean: float
    p90: float
    p95: float
    p99: float
    calls: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Self:
        """Of at least one call; percentiles are interpolated."""
        p90, p95, p99 = (float(value) for value in np.percentile(seconds, (90, 95, 99)))
        median, mean = statistics.median(seconds), statistics.fmean(seconds)
        return cls(min(seconds), median, mean, p90, p95, p99, len(seconds))


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as long something takes as something else that took turns with it."""

    median: float
    """Of the rounds."""
    minimum: float
    maximum: float
    rounds: int
    within_noise: bool
    """Whether a sign test of the rounds, at 95 %, leaves it to chance which of the two is faster;
    of fewer than six rounds it always does."""

    @classmethod
    def of(cls, numerator: Sequence[float], denominator: Sequence[float]) -> Self:
        """Round by round: both numbers of a round were measured next to each other."""
        ratios = [a / b for a, b in zip(numerator, denominator, strict=True)]
        slower = sum(ratio > 1 for ratio in ratios)
        faster = sum(ratio < 1 for ratio in ratios)
        return cls(
            median=statistics.median(ratios),
            minimum=min(ratios),
            maximum=max(ratios),
            rounds=len(ratios),
            within_noise=_by_chance(max(slower, faster), slower + faster) > 1 - _SURE,
        )


def _by_chance(ahead: int, of: int) -> float:
    """How likely fair coins fall at least so unevenly: the sign test, for either side."""
    outcomes = sum(math.comb(of, k) for k in range(ahead, of + 1))
    return min(1.0, 2 * outcomes / float(2**of))
