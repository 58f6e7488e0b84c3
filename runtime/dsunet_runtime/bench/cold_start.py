"""From a new process to the first mask, split into its parts."""

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

_NOT_GIVEN = "-"


@dataclass(frozen=True, slots=True)
class ColdStart:
    """Seconds of the parts, and bytes after them."""

    start: float
    """The interpreter, until it comes to our first line."""
    imports: float
    """The runtime, NumPy and Pillow, not the backend's library."""
    load: float
    """The backend's library, the artifact with its hashes checked, and the session or engine."""
    first: float
    """The first call, from an image file to its mask.  TensorRT for RTX compiles in it what its
    cache does not have."""
    next: float
    """The call after that."""
    host_loaded: int | None
    host_computed: int | None
    """After both calls."""
    host_peak: int | None
    device_loaded: int | None
    """Of what is taken on the GPU, the share that came while loading, whoever took it."""
    device_computed: int | None
    """Likewise, both calls included."""


def measure_cold_start(runner: Runner, image: Path, threads: int | None) -> ColdStart:
    """Start a process, load, and compute.  Raises BackendError if it fails there."""
    command = [
        *(sys.executable, "-m", "dsunet_runtime.bench.cold_start_process"),
        *(str(runner.artifact), str(image)),
        *(runner.provider or _NOT_GIVEN, str(runner.threads(threads) or _NOT_GIVEN)),
    ]
    begin = time.time()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise BackendError(f"{runner.artifact}: does not run in a new process: {printable(reason)}")
    found = json.loads(done.stdout.splitlines()[-1])
    return ColdStart(start=found.pop("began") - begin, **found)
