"""Cold start: time from a new process to the first mask, by phase."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from dsunet_runtime.bench.workload import Runner
from dsunet_runtime.errors import BackendError
from dsunet_runtime.message_text import printable
from dsunet_runtime.selftest.policy import SelfTestPolicy


@dataclass(frozen=True, slots=True)
class ColdStart:
    """Duration of each phase in seconds, and memory use in bytes after it."""

    start: float
    """Start of the interpreter, up to the first line of the program."""
    imports: float
    """Import of the runtime, NumPy and Pillow, without the library of the backend."""
    load: float
    """Import of the backend's library, check of the hashes, creation of the session or engine."""
    first: float
    """First call, from an image file to its mask.  TensorRT for RTX compiles the kernels in it
    that its cache lacks."""
    next: float
    """Second call."""
    host_loaded: int | None
    host_computed: int | None
    """Resident host memory after both calls."""
    host_peak: int | None
    device_loaded: int | None
    """Increase of used GPU memory while loading, by any process."""
    device_computed: int | None
    """Increase of used GPU memory up to the end of both calls, by any process."""


def measure_cold_start(runner: Runner, image: Path, threads: int | None) -> ColdStart:
    """Load and run the artifact in a new process.  Raises BackendError if that fails.

    The self-test, which runs once on a machine, is left out.
    """
    options = runner.load_options(threads) | {"selftest": SelfTestPolicy.NEVER}
    command = [
        *(sys.executable, "-m", "dsunet_runtime.bench.cold_start_process"),
        *(str(runner.artifact), str(image), json.dumps(options)),
    ]
    begin = time.time()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise BackendError(f"{runner.artifact}: does not run in a new process: {printable(reason)}")
    phases = json.loads(done.stdout.splitlines()[-1])
    return ColdStart(start=phases.pop("began") - begin, **phases)
