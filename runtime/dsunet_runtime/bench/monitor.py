"""What a machine does while it is measured, and what of that makes the figures doubtful."""

from __future__ import annotations

import os
import platform
import statistics
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dsunet_runtime.closeable import Closeable
from dsunet_runtime.cuda import Gpu, find, nvml
from dsunet_runtime.errors import BackendError
from dsunet_runtime.file_kinds import is_engine
from dsunet_runtime.provider import Provider

_EVERY = 0.1
"""Seconds between two looks at the GPU."""
_STEADY = 0.05
"""Share of the median by which the clock may vary."""
_BUSY = 0.5
"""Load for each core beside which a measurement is doubtful."""


@dataclass(frozen=True, slots=True)
class SensorRange:
    """Of what was seen again and again."""

    minimum: float
    median: float
    maximum: float

    @classmethod
    def of(cls, values: Sequence[float]) -> SensorRange:
        """Of at least one value."""
        return cls(min(values), statistics.median(values), max(values))


@dataclass(frozen=True, slots=True)
class GpuReadings:
    """What a GPU did."""

    clock_mhz: SensorRange
    """Of its processors."""
    power_w: SensorRange
    temperature_c: SensorRange
    throttled: tuple[str, ...]
    """Why it was slower than it can be, if it was."""

    def doubts(self) -> list[str]:
        """What makes the figures unreliable, a line each."""
        found = [f"the GPU was slowed down: {reason}" for reason in self.throttled]
        clock = self.clock_mhz
        if clock.maximum - clock.minimum > _STEADY * clock.median:
            found.append(
                f"the GPU's clock went from {clock.minimum:.0f} to {clock.maximum:.0f} MHz: lock "
                "it with `nvidia-smi --lock-gpu-clocks`"
            )
        return found


class GpuMonitor(Closeable):
    """Looks at a GPU from a thread of its own, until it is closed."""

    def __init__(self, gpu: Gpu | None) -> None:
        self._gpu = gpu
        self._seen: list[nvml.State] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    @property
    def readings(self) -> GpuReadings | None:
        """What was seen so far; None without a GPU, or without NVML."""
        seen = list(self._seen)
        if not seen:
            return None
        return GpuReadings(
            SensorRange.of([state.clock_mhz for state in seen]),
            SensorRange.of([state.power_w for state in seen]),
            SensorRange.of([state.temperature_c for state in seen]),
            tuple(sorted({reason for state in seen for reason in state.throttled})),
        )

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while self._gpu is not None and not self._stop.wait(_EVERY):
            state = nvml.state(self._gpu)
            if state is not None:
                self._seen.append(state)


def gpu_of(artifact: Path, provider: str | None) -> Gpu | None:
    """The GPU that computes an artifact; None if the CPU does, or if it cannot be told."""
    if not is_engine(artifact) and provider in (None, Provider.CPU):
        return None
    try:
        return find().gpus()[0]
    except (BackendError, IndexError):
        return None


def busy_cores() -> str | None:
    """A line that says so if others keep this machine busy; to be asked before measuring."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load <= _BUSY * cores:
        return None
    return f"a load of {load:.1f} on {cores} cores before this began: end what else runs"


def describe(gpu: Gpu | None) -> dict[str, object]:
    """The machine, for the record."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "gpu": gpu.name if gpu else None,
        "driver": nvml.driver_version() if gpu else None,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
