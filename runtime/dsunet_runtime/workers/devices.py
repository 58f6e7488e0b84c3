"""The GPUs and cores of this machine, divided among worker processes."""

from __future__ import annotations

import os
from itertools import takewhile

from dsunet_runtime.cuda import nvml
from dsunet_runtime.errors import BackendError

VISIBLE = "CUDA_VISIBLE_DEVICES"


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpus() -> list[str]:
    """Return the GPUs that this process may use, as values of CUDA_VISIBLE_DEVICES.

    Those in that variable, in its order, or all that the driver lists.  Raises BackendError if
    there are none.
    """
    chosen = os.environ.get(VISIBLE)
    if chosen is None:
        found = [str(index) for index in range(len(nvml.gpu_names() or ()))]
        none = "this machine has no NVIDIA GPU with its driver"
    else:
        # As in CUDA, names after the first invalid one are ignored.
        names = [name.strip() for name in chosen.split(",")]
        found = [*takewhile(lambda name: name and not name.startswith("-"), names)]
        none = f"{VISIBLE} is {chosen!r}, which hides all GPUs"
    if not found:
        raise BackendError(f"{none}: run on the CPU, or name a number of --workers")
    return found
