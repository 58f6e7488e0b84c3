"""How a prediction is divided among processes; by default, it runs in this one.

Importing this module does not import NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dsunet_runtime.artifact.file_kinds import is_engine
from dsunet_runtime.provider import Provider

ONE_PER_GPU = "gpus"
"""The number of workers is that of the GPUs."""
LOCAL = "local"
"""A Ray cluster of this machine alone, for the time of the run."""


@dataclass(frozen=True, slots=True)
class Parallelism:
    """The workers of a prediction."""

    workers: str | None
    """Number of workers, or `ONE_PER_GPU`; None for no workers, or with Ray for as many as fit."""
    threads: int | None
    """CPU threads of each worker; None to divide the cores."""
    ray: str | None
    """Address of a Ray cluster, or `LOCAL`; None for processes of this machine."""

    @property
    def count(self) -> int | None:
        """Number of workers; None if it follows from the number of GPUs or machines."""
        return None if self.workers in (None, ONE_PER_GPU) else int(self.workers)

    @property
    def is_this_process(self) -> bool:
        """Whether there are no workers."""
        return self.workers is None and self.ray is None


def needs_gpu(artifact: Path, provider: Provider | None) -> bool:
    """Whether an artifact is computed on a GPU."""
    return is_engine(artifact) or (provider is not None and provider.on_gpu)
