"""Profiles of a run by layer."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_FEWEST, _MOST = 3, 30
_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class ProfiledLayer:
    """One executed layer: a node of the graph, or several nodes fused into one kernel."""

    nodes: tuple[str, ...]
    """Names of the graph's nodes in the layer, as far as they are known."""
    seconds: float
    macs: int
    """Multiply-adds."""
    bytes: int
    """Bytes read and written, weights included."""


@dataclass(frozen=True, slots=True)
class LayerProfile:
    """The layers of a run with their times."""

    layers: Sequence[ProfiledLayer]
    """In the order of execution; times are medians over several runs."""
    seconds: float
    """Median duration of complete runs without a profiler."""
    notes: Sequence[str] = ()
    """Limitations of the profile, one line each."""


def repeat(call: Callable[[], object]) -> list[float]:
    """Time repeated calls: as many as fit into three seconds, but at least 3 and at most 30."""
    taken: list[float] = []
    while len(taken) < _FEWEST or (len(taken) < _MOST and sum(taken) < _SECONDS):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return taken


def medians(runs: Sequence[Sequence[float]]) -> list[float]:
    """Return the median time of each layer, over runs that have the same layers."""
    return [statistics.median(times) for times in zip(*runs, strict=True)]
