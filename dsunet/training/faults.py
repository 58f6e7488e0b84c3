"""What goes wrong in PyTorch during a run, in one line that says what to do."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import torch

from dsunet.errors import CheckpointError, DataError, TrainingError
from dsunet.training.folder import RunFolder
from dsunet.training.loading import is_lack_of_shared_memory, shared_memory_fault
from dsunet.training.options import TrainingOptions
from dsunet_runtime.errors import RuntimeFault


@contextlib.contextmanager
def named_faults(options: TrainingOptions) -> Iterator[None]:
    """Raise what lacks memory, and what comes from another process, as one of our errors."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"the GPU has too little memory for {options.batch} images in "
            f"{options.accumulate} parts: raise --accumulate, give --checkpointing or "
            "--precision bf16, or lower --batch"
        ) from error
    except DataError as error:  # from a worker, with its traceback
        raise DataError(last_line(error)) from error
    except RuntimeError as error:
        if not is_lack_of_shared_memory(error):
            raise
        raise shared_memory_fault(options.worker_count) from error


@contextlib.contextmanager
def resumable(folder: RunFolder) -> Iterator[None]:
    """Say how to go on after a full disk, or a network that gives no numbers."""
    try:
        yield
    except (RuntimeFault, CheckpointError) as error:
        raise TrainingError(
            f"{error}; when that is mended, go on with dsunet train --resume {folder.path}"
        ) from error


def last_line(error: Exception) -> str:
    """The message of an exception that came with its traceback from another process."""
    line = str(error).strip().splitlines()[-1]
    return re.sub(r"^[\w.]+: ", "", line)
