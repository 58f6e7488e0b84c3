# ruff: noqa: N802 - NVML's names

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path
from typing import Any

import pytest

from dsunet_runtime.bench import monitor
from dsunet_runtime.bench.monitor import GpuMonitor, GpuReadings, SensorRange, busy_cores, gpu_of
from dsunet_runtime.cuda import nvml
from dsunet_runtime.errors import BackendError
from tests.runtime.fake_cuda import GPU, FakeCuda


class FakeNvml:
    """NVML's functions, as C has them: results through pointers, 0 is success."""

    def __init__(self, *, clocks: list[int], reasons: int = 0, status: int = 0) -> None:
        self.clocks, self.reasons, self.status = clocks, reasons, status

    def nvmlDeviceGetHandleByPciBusId_v2(self, bus_id: bytes, handle: Any) -> int:
        assert bus_id == GPU.pci_bus_id.encode()
        return 0

    def nvmlDeviceGetClockInfo(self, handle: Any, kind: int, clock: Any) -> int:
        assert kind == 1
        clock._obj.value = self.clocks.pop(0) if len(self.clocks) > 1 else self.clocks[0]
        return self.status

    def nvmlDeviceGetPowerUsage(self, handle: Any, milliwatts: Any) -> int:
        milliwatts._obj.value = 250_500
        return 0

    def nvmlDeviceGetTemperature(self, handle: Any, sensor: int, temperature: Any) -> int:
        assert sensor == 0
        temperature._obj.value = 61
        return 0

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: Any, reasons: Any) -> int:
        assert isinstance(reasons._obj, ctypes.c_ulonglong)
        reasons._obj.value = self.reasons
        return 0

    def nvmlSystemGetDriverVersion(self, text: Any, length: int) -> int:
        text.value = b"580.1"
        return 0


def readings_with(library: FakeNvml, monkeypatch: pytest.MonkeyPatch, looks: int) -> GpuReadings:
    monkeypatch.setattr(nvml, "_library", lambda: library)
    monkeypatch.setattr(monitor, "_EVERY", 0.001)
    with GpuMonitor(GPU) as gpu_monitor:
        for _ in range(2000):
            if len(gpu_monitor._seen) >= looks:
                break
            time.sleep(0.005)
        found = gpu_monitor.readings
    assert found is not None
    return found


def test_a_steady_gpu_gives_no_doubts(monkeypatch: pytest.MonkeyPatch) -> None:
    # 1 is idle and 2 are clocks that somebody has set: neither slows a measurement down.
    found = readings_with(FakeNvml(clocks=[2520], reasons=0x3), monkeypatch, 2)
    assert found.clock_mhz == SensorRange(2520, 2520, 2520)
    assert found.power_w.median == 250.5
    assert found.temperature_c.median == 61
    assert found.doubts() == []


def test_a_slowed_gpu_is_doubtful(monkeypatch: pytest.MonkeyPatch) -> None:
    found = readings_with(FakeNvml(clocks=[2520], reasons=0x4 | 0x20), monkeypatch, 1)
    assert found.throttled == ("power limit", "thermal slowdown by software")
    assert len(found.doubts()) == 2


def test_a_wandering_clock_is_doubtful(monkeypatch: pytest.MonkeyPatch) -> None:
    found = readings_with(FakeNvml(clocks=[2520, 1800, 2520]), monkeypatch, 3)
    (line,) = found.doubts()
    assert "from 1800 to 2520 MHz" in line


def test_nothing_is_seen_without_a_gpu_or_where_nvml_refuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with GpuMonitor(None) as gpu_monitor:
        assert gpu_monitor.readings is None
    monkeypatch.setattr(nvml, "_library", lambda: FakeNvml(clocks=[1], status=3))
    assert nvml.state(GPU) is None
    monkeypatch.setattr(nvml, "_library", lambda: None)
    assert nvml.state(GPU) is None


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
