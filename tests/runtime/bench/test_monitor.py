from __future__ import annotations

import dataclasses
import itertools
import os
import threading
import time
from pathlib import Path

import pytest

from dsunet_runtime.bench import monitor
from dsunet_runtime.bench.monitor import GpuMonitor, GpuReadings, SensorRange, busy_cores, gpu_of
from dsunet_runtime.cuda import nvml
from dsunet_runtime.cuda.nvml import GpuState
from dsunet_runtime.errors import BackendError
from tests.runtime.fake_cuda import GPU, FakeCuda

STEADY = GpuState(clock_mhz=2520, power_w=250.5, temperature_c=61, throttled=())


def readings_of(monkeypatch: pytest.MonkeyPatch, *seen: GpuState) -> GpuReadings:
    """What a monitor reads on a GPU that is in these states one after the other."""
    states = itertools.chain(seen, itertools.repeat(seen[-1]))
    monkeypatch.setattr(nvml, "state", lambda gpu: next(states) if gpu == GPU else None)
    monkeypatch.setattr(monitor, "_EVERY", 0.001)
    with GpuMonitor(GPU) as gpu_monitor:
        for _ in range(2000):
            if len(gpu_monitor._states) >= len(seen):
                break
            time.sleep(0.005)
        found = gpu_monitor.readings
    assert found is not None
    return found


def test_a_steady_gpu_gives_no_doubts(monkeypatch: pytest.MonkeyPatch) -> None:
    found = readings_of(monkeypatch, STEADY, STEADY)
    assert found.clock_mhz == SensorRange(2520, 2520, 2520)
    assert found.power_w.median == 250.5
    assert found.temperature_c.median == 61
    assert found.warnings() == []


def test_a_slowed_gpu_gives_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = [dataclasses.replace(STEADY, throttled=(reason,)) for reason in ("b", "a", "b")]
    found = readings_of(monkeypatch, STEADY, *slow)
    assert found.throttled == ("a", "b")
    assert len(found.warnings()) == 2


def test_a_wandering_clock_gives_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    found = readings_of(monkeypatch, STEADY, dataclasses.replace(STEADY, clock_mhz=1800), STEADY)
    (line,) = found.warnings()
    assert "from 1800 to 2520 MHz" in line


def test_nothing_is_seen_without_a_gpu_or_where_nvml_refuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = threading.Event()
    monkeypatch.setattr(nvml, "state", lambda gpu: asked.set())
    monkeypatch.setattr(monitor, "_EVERY", 0.001)
    with GpuMonitor(None) as without, GpuMonitor(GPU) as refused:
        assert asked.wait(10)
        assert without.readings is refused.readings is None


def test_whose_gpu_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "find", FakeCuda)
    assert gpu_of(Path("a.onnx"), None) is None
    assert gpu_of(Path("a.onnx"), "cpu") is None
    assert gpu_of(Path("a.onnx"), "cuda") == GPU
    assert gpu_of(Path("a.engine"), None) == GPU

    def missing() -> None:
        raise BackendError("no driver")

    monkeypatch.setattr(monitor, "find", missing)
    assert gpu_of(Path("a.engine"), None) is None


def test_others_on_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "getloadavg", lambda: (1.0, 9.0, 9.0))
    assert busy_cores() is None
    monkeypatch.setattr(os, "getloadavg", lambda: (3.0, 0.0, 0.0))
    assert "the load average was 3.0 on 4 cores" in str(busy_cores())
