"""Latency measurement: warm-up until stable, then rounds in which the workloads are interleaved."""

from __future__ import annotations

import functools
import math
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from dsunet_runtime.bench.statistics import Latency, Ratio
from dsunet_runtime.bench.workload import Call, Workload

_WINDOW = 5
"""Number of calls in each of the two windows whose medians end the warm-up if they agree."""
_STABLE = 0.05
"""Maximum relative difference of the medians of the two windows."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long to measure each workload."""

    rounds: int = 10
    seconds: float = 10.0
    """Total over all rounds; a call in progress is completed."""
    calls: int | None = None
    """Calls per stream over all rounds, instead of `seconds`; rounded up to equal rounds."""
    max_warm_up: float = 15.0
    """Maximum duration of the warm-up in seconds."""

    def continues(self, calls: int, seconds: float) -> bool:
        """Whether a stream starts another call in this round, after `calls` calls in `seconds`."""
        if self.calls is not None:
            return calls < math.ceil(self.calls / self.rounds)
        return calls == 0 or seconds < self.seconds / self.rounds


@dataclass(frozen=True, slots=True)
class WarmUp:
    """The warm-up before a measurement."""

    calls: int
    seconds: float
    stable: bool
    """Whether the latency became stable."""


@dataclass(slots=True)
class Measurement:
    """Timings of one workload."""

    workload: Workload
    warm_up: WarmUp
    rounds: list[Round] = field(default_factory=list)

    @property
    def latency(self) -> Latency:
        """Latency statistics over all calls."""
        return Latency.of([seconds for one in self.rounds for seconds in one.calls])

    @property
    def images_per_second(self) -> float:
        """Throughput, all streams together."""
        images = self.workload.setting.batch * sum(len(one.calls) for one in self.rounds)
        return images / sum(one.seconds for one in self.rounds)

    def time_relative_to(self, other: Measurement) -> Ratio:
        """Ratio of the times per image, by round; with one stream, of the median latencies."""
        return Ratio.of(self._seconds_per_image(), other._seconds_per_image())

    def _seconds_per_image(self) -> list[float]:
        batch = self.workload.setting.batch
        if self.workload.setting.streams == 1:
            return [statistics.median(one.calls) / batch for one in self.rounds]
        return [one.seconds / (len(one.calls) * batch) for one in self.rounds]


@dataclass(frozen=True, slots=True)
class Round:
    """Timings of one workload in one round."""

    calls: tuple[float, ...]
    """Duration of each call in seconds, for all streams."""
    seconds: float
    """Time from the start of the first call to the end of the last one."""


def warm_up_all(
    workloads: Sequence[Workload], schedule: Schedule, report: Callable[[str], None]
) -> list[Measurement]:
    """Warm up the workloads one after the other."""
    measurements = []
    for workload in workloads:
        report(f"warming up {workload.runner.label}, {workload.setting}")
        measurements.append(Measurement(workload, warm_up(workload, schedule.max_warm_up)))
    return measurements


def measure_interleaved(
    measurements: Sequence[Measurement], schedule: Schedule, report: Callable[[str], None]
) -> None:
    """Measure every workload once in each round.

    Each round starts with another workload, so that slow changes of the machine affect all alike.
    """
    for number in range(schedule.rounds):
        report(f"round {number + 1} of {schedule.rounds}")
        first = number % len(measurements)
        for one in [*measurements[first:], *measurements[:first]]:
            one.rounds.append(_run(one.workload.calls, schedule.continues))


def warm_up(workload: Workload, longest: float) -> WarmUp:
    """Call until two successive windows take equally long, or for `longest` seconds."""
    start = time.perf_counter()
    latest: list[float] = []
    for calls in count(1):
        latest.append(max(_run(workload.calls, lambda done, _: done < 1).calls))
        seconds = time.perf_counter() - start
        if stable(latest):
            return WarmUp(calls, seconds, stable=True)
        if seconds > longest:
            return WarmUp(calls, seconds, stable=False)
    raise AssertionError("count() has no end")


def stable(seconds: Sequence[float]) -> bool:
    """Whether the last window of calls is about as fast as the window before it."""
    if len(seconds) < 2 * _WINDOW:
        return False
    before, after = seconds[-2 * _WINDOW : -_WINDOW], seconds[-_WINDOW:]
    return abs(statistics.median(after) / statistics.median(before) - 1) <= _STABLE


def _run(calls: Sequence[Call], continues: Callable[[int, float], bool]) -> Round:
    """Run each call in a thread of its own; all threads start at the same time."""
    gate = threading.Barrier(len(calls))
    threads = _threads(len(calls))
    streams = [threads.submit(_repeat, call, gate, continues) for call in calls]
    times = [stream.result() for stream in streams]
    return Round(
        calls=tuple(seconds for one in times for seconds in one.calls),
        seconds=max(one.end for one in times) - min(one.begin for one in times),
    )


@functools.cache
def _threads(count: int) -> ThreadPoolExecutor:
    """Return the threads that all rounds and warm-ups share.

    CUDA libraries create handles per thread, which would delay the first call of a new thread by
    about a second.
    """
    return ThreadPoolExecutor(count)


class _Times(NamedTuple):
    begin: float
    end: float
    calls: list[float]


def _repeat(call: Call, gate: threading.Barrier, continues: Callable[[int, float], bool]) -> _Times:
    gate.wait()
    begin = now = time.perf_counter()
    taken: list[float] = []
    while continues(len(taken), now - begin):
        call()
        before, now = now, time.perf_counter()
        taken.append(now - before)
    return _Times(begin, now, taken)
