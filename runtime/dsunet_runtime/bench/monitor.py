"""State of the machine during a measurement, and reasons why results may be unreliable."""

from __future__ import annotations

import os
import platform
import statistics
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dsunet_runtime import processor
from dsunet_runtime.artifact.file_kinds import is_engine
from dsunet_runtime.closeable import Closeable
from dsunet_runtime.cuda import Gpu, find, nvml
from dsunet_runtime.errors import BackendError
from dsunet_runtime.provider import Provider

_EVERY = 0.1
"""Sampling interval in seconds."""
_STEADY = 0.05
"""Maximum range of the GPU clock, relative to its median."""
_BUSY = 0.5
"""Load average per core above which a measurement may be unreliable."""


@dataclass(frozen=True, slots=True)
class SensorRange:
    """Minimum, median and maximum of the readings of one sensor."""

    minimum: float
    median: float
    maximum: float

    @classmethod
    def of(cls, values: Sequence[float]) -> SensorRange:
        """Summarise at least one reading."""
        return cls(min(values), statistics.median(values), max(values))


@dataclass(frozen=True, slots=True)
class GpuReadings:
    """Summary of the GPU readings during a measurement."""

    clock_mhz: SensorRange
    """Clock of the streaming multiprocessors."""
    power_w: SensorRange
    temperature_c: SensorRange
    throttled: tuple[str, ...]
    """Reasons for throttling, if there was any."""

    def warnings(self) -> list[str]:
        """Return the reasons why results may be unreliable, one line each."""
        lines = [f"the GPU was throttled: {reason}" for reason in self.throttled]
        clock = self.clock_mhz
        if clock.maximum - clock.minimum > _STEADY * clock.median:
            lines.append(
                f"the GPU clock varied from {clock.minimum:.0f} to {clock.maximum:.0f} MHz: "
                "lock it with `nvidia-smi --lock-gpu-clocks`"
            )
        return lines


class GpuMonitor(Closeable):
    """Samples the state of a GPU in a background thread, until it is closed."""

    def __init__(self, gpu: Gpu | None) -> None:
        self._gpu = gpu
        self._states: list[nvml.GpuState] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    @property
    def readings(self) -> GpuReadings | None:
        """Readings so far; None without a GPU or without NVML."""
        states = list(self._states)
        if not states:
            return None
        return GpuReadings(
            SensorRange.of([state.clock_mhz for state in states]),
            SensorRange.of([state.power_w for state in states]),
            SensorRange.of([state.temperature_c for state in states]),
            tuple(sorted({reason for state in states for reason in state.throttled})),
        )

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while self._gpu is not None and not self._stop.wait(_EVERY):
            state = nvml.state(self._gpu)
            if state is not None:
                self._states.append(state)


def gpu_of(artifact: Path, provider: str | None) -> Gpu | None:
    """Return the GPU that runs an artifact; None for the CPU, or if it cannot be determined."""
    if not is_engine(artifact) and not Provider(provider or Provider.CPU).on_gpu:
        return None
    try:
        return find().gpus()[0]
    except (BackendError, IndexError):
        return None


def busy_cores() -> str | None:
    """Return a warning if the CPU is busy, else None.  Call it before measuring."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load <= _BUSY * cores:
        return None
    return f"the load average was {load:.1f} on {cores} cores at the start: stop other processes"


def describe_machine(gpu: Gpu | None) -> dict[str, object]:
    """Return a description of the machine for result files."""
    return {
        "processor": processor.name(),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "gpu": gpu.name if gpu else None,
        "driver": nvml.driver_version() if gpu else None,
    }
