"""Percentiles of latencies, and ratios with their range and significance."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency statistics of a call, in seconds."""

    minimum: float
    median: float
    mean: float
    p90: float
    p95: float
    p99: float
    calls: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Self:
        """Compute the statistics of at least one call.  Percentiles are interpolated."""
        p90, p95, p99 = (float(value) for value in np.percentile(seconds, (90, 95, 99)))
        median, mean = statistics.median(seconds), statistics.fmean(seconds)
        return cls(min(seconds), median, mean, p90, p95, p99, len(seconds))


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ratio of the times of two workloads that were measured interleaved."""

    median: float
    """Median over the rounds."""
    minimum: float
    maximum: float
    rounds: int
    within_noise: bool
    """Whether a sign test over the rounds finds no difference at the 95 % level.  With fewer than
    six rounds it never finds one."""

    @classmethod
    def of(cls, numerator: Sequence[float], denominator: Sequence[float]) -> Self:
        """Compute the ratio for each round, in which both were measured close together."""
        ratios = [a / b for a, b in zip(numerator, denominator, strict=True)]
        slower = sum(ratio > 1 for ratio in ratios)
        faster = sum(ratio < 1 for ratio in ratios)
        return cls(
            median=statistics.median(ratios),
            minimum=min(ratios),
            maximum=max(ratios),
            rounds=len(ratios),
            within_noise=_p_value(max(slower, faster), slower + faster) > 1 - _CONFIDENCE,
        )


def _p_value(wins: int, rounds: int) -> float:
    """Two-sided p-value of the sign test."""
    outcomes = sum(math.comb(rounds, k) for k in range(wins, rounds + 1))
    return min(1.0, 2 * outcomes / float(2**rounds))
