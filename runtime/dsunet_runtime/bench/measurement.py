"""The clock: warm-up until stable, then rounds in which every workload has its turn."""

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
"""Calls whose medians are compared to see whether the warm-up goes on."""
_STABLE = 0.05
"""Share by which two windows' medians may differ."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long to measure each workload."""

    rounds: int = 10
    seconds: float = 10.0
    """Of all rounds together; a call that has begun is finished."""
    calls: int | None = None
    """Of each stream in all rounds together, instead of `seconds`; more where that makes rounds
    alike."""
    max_warm_up: float = 15.0
    """Seconds."""

    def continues(self, calls: int, seconds: float) -> bool:
        """Whether a stream begins another call in this round, after so many and so long."""
        if self.calls is not None:
            return calls < math.ceil(self.calls / self.rounds)
        return calls == 0 or seconds < self.seconds / self.rounds


@dataclass(frozen=True, slots=True)
class WarmUp:
    """What came before the clock counted."""

    calls: int
    seconds: float
    stable: bool
    """Whether the latency had stopped falling."""


@dataclass(slots=True)
class Measurement:
    """What the clock said of one workload."""

    workload: Workload
    warm_up: WarmUp
    rounds: list[Round] = field(default_factory=list)

    @property
    def latency(self) -> Latency:
        """Of every call."""
        return Latency.of([seconds for one in self.rounds for seconds in one.calls])

    @property
    def images_per_second(self) -> float:
        """Of all streams together."""
        images = self.workload.setting.batch * sum(len(one.calls) for one in self.rounds)
        return images / sum(one.seconds for one in self.rounds)

    def time_relative_to(self, other: Measurement) -> Ratio:
        """Of one image, round by round; for one stream of calls that is the latency."""
        return Ratio.of(self._seconds_per_image(), other._seconds_per_image())

    def _seconds_per_image(self) -> list[float]:
        batch = self.workload.setting.batch
        if self.workload.setting.streams == 1:
            return [statistics.median(one.calls) / batch for one in self.rounds]
        return [one.seconds / (len(one.calls) * batch) for one in self.rounds]


@dataclass(frozen=True, slots=True)
class Round:
    """One turn of one workload."""

    calls: tuple[float, ...]
    """Seconds of each call, those of all streams."""
    seconds: float
    """From the first beginning to the last end."""


def warm_up_all(
    workloads: Sequence[Workload], schedule: Schedule, report: Callable[[str], None]
) -> list[Measurement]:
    """Each workload after its warm-up, one after the other."""
    found = []
    for workload in workloads:
        report(f"warming up {workload.runner.label}, {workload.setting}")
        found.append(Measurement(workload, warm_up(workload, schedule.max_warm_up)))
    return found


def measure_interleaved(
    measurements: Sequence[Measurement], schedule: Schedule, report: Callable[[str], None]
) -> None:
    """Let each have a turn in every round.

    Every round begins with another one, so that what changes with time changes them all.
    """
    for number in range(schedule.rounds):
        report(f"round {number + 1} of {schedule.rounds}")
        first = number % len(measurements)
        for one in [*measurements[first:], *measurements[:first]]:
            one.rounds.append(_run(one.workload.calls, schedule.continues))


def warm_up(workload: Workload, longest: float) -> WarmUp:
    """Call until two windows of calls take as long as each other, or for `longest` seconds."""
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
    """Whether the last calls are about as fast as those before them."""
    if len(seconds) < 2 * _WINDOW:
        return False
    before, after = seconds[-2 * _WINDOW : -_WINDOW], seconds[-_WINDOW:]
    return abs(statistics.median(after) / statistics.median(before) - 1) <= _STABLE


def _run(calls: Sequence[Call], continues: Callable[[int, float], bool]) -> Round:
    """Call in as many threads as there are calls, all of which begin at once."""
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
    """The same threads for every round and warm-up: CUDA's libraries have handles for each thread,
    and the first call of a new one would wait a second for them.
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
