"""The clock, on a clock of our own: calls take exactly as long as they say."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from dsunet_runtime.bench import measurement
from dsunet_runtime.bench.measurement import (
    Measurement,
    Schedule,
    measure_interleaved,
    warm_up,
    warm_up_all,
)
from dsunet_runtime.bench.origin import Origin
from dsunet_runtime.bench.workload import Call, Runner, Setting, Workload
from dsunet_runtime.errors import BackendError


class Clock:
    """Time that passes only in calls.

    Threads that call concurrently have their own.  The time of the main thread includes them all.
    """

    def __init__(self) -> None:
        self._threads = threading.local()
        self._of_main = 0.0

    def perf_counter(self) -> float:
        if threading.current_thread() is threading.main_thread():
            return self._of_main
        return float(getattr(self._threads, "now", 0.0))

    def call(self, seconds: Iterable[float]) -> Call:
        durations = iter(seconds)

        def pass_time() -> None:
            seconds = next(durations)
            self._threads.now = self.perf_counter() + seconds
            self._of_main += seconds

        return pass_time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(measurement.time, "perf_counter", clock.perf_counter)
    return clock


def workload(name: str, *calls: Call, batch: int = 1) -> Workload:
    return Workload(Runner(Path(name), None), Setting(Origin.ARRAY, batch, len(calls)), calls)


def silent(_: str) -> None:
    pass


def test_every_call_is_counted(clock: Clock) -> None:
    one = workload("a", clock.call(itertools.cycle([1, 3])), batch=4)
    (found,) = warm_up_all([one], Schedule(max_warm_up=0), silent)
    measure_interleaved([found], Schedule(rounds=5, calls=10), silent)
    assert found.latency.calls == 10
    assert (found.latency.minimum, found.latency.mean) == (1, 2)
    assert found.images_per_second == 4 / 2


def test_seconds_are_shared_by_the_rounds(clock: Clock) -> None:
    one = workload("a", clock.call(itertools.repeat(1)))
    (found,) = warm_up_all([one], Schedule(max_warm_up=0), silent)
    measure_interleaved([found], Schedule(rounds=4, seconds=12), silent)
    assert [len(one.calls) for one in found.rounds] == [3] * 4


def test_a_call_longer_than_its_turn_is_finished(clock: Clock) -> None:
    one = workload("a", clock.call(itertools.repeat(100)))
    (found,) = warm_up_all([one], Schedule(max_warm_up=0), silent)
    measure_interleaved([found], Schedule(rounds=2, seconds=1), silent)
    assert [one.calls for one in found.rounds] == [(100,), (100,)]


def test_streams_add_up(clock: Clock) -> None:
    calls = [clock.call(itertools.repeat(2)) for _ in range(3)]
    (found,) = warm_up_all([workload("a", *calls, batch=2)], Schedule(max_warm_up=0), silent)
    measure_interleaved([found], Schedule(rounds=2, calls=4), silent)
    assert found.latency.calls == 12
    assert found.latency.median == 2
    assert found.images_per_second == 3 * 2 / 2


def test_streams_call_at_once() -> None:
    together = threading.Barrier(3, timeout=10)
    (found,) = warm_up_all([workload("a", *[together.wait] * 3)], Schedule(max_warm_up=0), silent)
    measure_interleaved([found], Schedule(rounds=1, calls=2), silent)
    assert found.latency.calls == 6


def test_every_round_begins_with_another_one() -> None:
    order: list[str] = []
    names = ("a", "b", "c")
    measurements = [
        Measurement(workload(name, lambda name=name: order.append(name)), _warm)  # type: ignore[misc]
        for name in names
    ]
    measure_interleaved(measurements, Schedule(rounds=4, calls=4), silent)
    assert "".join(order) == "abc" + "bca" + "cab" + "abc"


_warm = measurement.WarmUp(1, 0.0, stable=True)


def test_warm_up_ends_when_calls_have_settled(clock: Clock) -> None:
    falling = [2.0 ** max(8 - n, 0) for n in range(100)]
    found = warm_up(workload("a", clock.call(falling)), longest=1e9)
    assert found.stable
    # Eight slow calls, then two windows of five.
    assert found.calls <= 8 + 10
    medians = sorted(falling[: found.calls][-10:-5])[2], sorted(falling[: found.calls][-5:])[2]
    assert medians[0] == medians[1] == 1


def test_warm_up_of_calls_that_never_settle(clock: Clock) -> None:
    found = warm_up(workload("a", clock.call(1.5**n for n in range(1000))), longest=50)
    assert not found.stable
    assert found.calls < 20


def test_time_relative_to_another(clock: Clock) -> None:
    slow = workload("slow", clock.call(itertools.repeat(8)), batch=4)
    fast = workload("fast", clock.call(itertools.repeat(1)), batch=1)
    measurements = warm_up_all([slow, fast], Schedule(max_warm_up=0), silent)
    measure_interleaved(measurements, Schedule(rounds=10, calls=20), silent)
    ratio = measurements[0].time_relative_to(measurements[1])
    assert ratio.median == 2
    assert not ratio.within_noise


def test_a_failing_call_ends_the_benchmark() -> None:
    def fail() -> None:
        raise BackendError("no")

    with pytest.raises(BackendError, match="no"):
        warm_up(workload("a", fail, lambda: None), longest=1)


def test_the_real_clock() -> None:
    (found,) = warm_up_all([workload("a", lambda: time.sleep(0.01))], Schedule(), silent)
    measure_interleaved([found], Schedule(rounds=2, calls=10), silent)
    assert found.latency.minimum >= 0.01
    assert found.images_per_second <= 100


@pytest.mark.parametrize("streams", [1, 3])
def test_every_round_is_in_the_threads_of_the_warm_up(streams: int) -> None:
    """CUDA's libraries have handles for each thread, and create them in its first call.

    That takes a second: on an H200 a median of 63 ms was measured as 1,143 ms.
    """
    threads: list[set[int]] = []

    def call() -> None:
        threads[-1].add(threading.get_ident())

    threads.append(set())
    (measured,) = warm_up_all([workload("a", *[call] * streams)], Schedule(), silent)
    for _ in range(3):
        threads.append(set())
        measure_interleaved([measured], Schedule(rounds=1, calls=5), silent)
    assert len(threads[0]) == streams
    assert all(seen == threads[0] for seen in threads)
