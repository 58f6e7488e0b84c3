"""What a profiler says."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_FEWEST, _MOST = 3, 30
_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class ProfiledLayer:
    """One thing that was executed: a node, or several that became one kernel."""

    nodes: tuple[str, ...]
    """Names of the graph's nodes in it, as far as they are known."""
    seconds: float
    macs: int
    """Multiply-adds."""
    bytes: int
    """Read and written, weights included."""


@dataclass(frozen=True, slots=True)
class LayerProfile:
    """A run, layer by layer."""

    layers: Sequence[ProfiledLayer]
    """In the order in which they were executed; the median of several runs."""
    seconds: float
    """The median of whole runs that were not profiled."""
    notes: Sequence[str] = ()
    """What is missing, a line each."""


def repeat(call: Callable[[], object]) -> list[float]:
    """Seconds of each call: as many as fit into three seconds, but at least 3 and at most 30."""
    taken: list[float] = []
    while len(taken) < _FEWEST or (len(taken) < _MOST and sum(taken) < _SECONDS):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return taken


def medians(runs: Sequence[Sequence[float]]) -> list[float]:
    """Of each layer, over runs that have the same ones."""
    return [statistics.median(times) for times in zip(*runs, strict=True)]
