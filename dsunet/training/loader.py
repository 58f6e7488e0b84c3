"""The data loader of a run, and the memory that it needs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from torch.utils.data import DataLoader

from dsunet.data.samples import Sample, SampleKey, Samples
from dsunet.errors import TrainingError
from dsunet_runtime.memory import available_memory

_SHARED = Path("/dev/shm")
"""Shared memory through which PyTorch's workers pass their batches on Linux."""

_PREFETCH = 2  # batches that are ready or being read, for each worker
_IN_USE = 2  # the batch of a step, and the next one while the step still holds it


def open_loader(
    samples: Samples,
    batches: Iterable[list[SampleKey]],
    largest: int,
    *,
    workers: int,
    processes: int = 1,
    pinned: bool = False,
) -> DataLoader[Sample]:
    """Open a loader of batches of at most `largest` samples.

    `processes` is the number of training processes on this machine, each with its own loader.
    Raises TrainingError if there is not enough memory for the batches.
    """
    size = largest * sum(tensor.nbytes for tensor in samples[SampleKey(0, 0)].values())
    batches_held = workers * _PREFETCH + _IN_USE if workers else 1
    needed = size * batches_held * processes
    if workers:
        _require_shared_memory(needed, workers)
    _require_memory(needed, largest)
    return DataLoader(
        samples,
        batch_sampler=batches,
        num_workers=workers,
        prefetch_factor=_PREFETCH if workers else None,
        pin_memory=pinned,
    )


def is_lack_of_shared_memory(error: RuntimeError) -> bool:
    """Whether an error of PyTorch means that /dev/shm is full."""
    return re.search(r"shared memory|Bus error|</torch_", str(error)) is not None


def shared_memory_error(workers: int, figures: str = "") -> TrainingError:
    """The error for a /dev/shm that is too small for the workers."""
    return TrainingError(
        f"{_SHARED} is too small for {workers} workers{figures}: use --workers 0, or in Docker "
        "start the container with --shm-size=2g"
    )


def _require_shared_memory(needed: int, workers: int) -> None:
    try:
        filesystem = os.statvfs(_SHARED)
    except (OSError, AttributeError):  # not Linux
        return
    free = filesystem.f_bavail * filesystem.f_frsize
    if free < needed:
        raise shared_memory_error(workers, f" ({_in_mb(needed)} needed, {_in_mb(free)} free)")


def _require_memory(needed: int, largest: int) -> None:
    available = available_memory()
    if available is not None and available < needed:
        raise TrainingError(
            f"batches of {largest} images need {_in_mb(needed)} of memory, but this machine has "
            f"{_in_mb(available)} available: decrease --batch, or increase --accumulate"
        )


def _in_mb(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"
