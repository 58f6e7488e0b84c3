"""Convert errors during a run to one-line errors with a remedy."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import torch

from dsunet.errors import CheckpointError, DataError, TrainingError
from dsunet.training.loader import is_lack_of_shared_memory, shared_memory_error
from dsunet.training.options import TrainingOptions
from dsunet.training.run_folder import RunFolder
from dsunet_runtime.errors import RuntimeFault


@contextlib.contextmanager
def converted_errors(options: TrainingOptions) -> Iterator[None]:
    """Convert errors of PyTorch and of worker processes to errors of dsunet."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"out of GPU memory with --batch {options.batch} and --accumulate "
            f"{options.accumulate}: increase --accumulate, use --checkpointing or --precision "
            "bf16, or decrease --batch"
        ) from error
    except DataError as error:  # from a worker, with its traceback
        raise DataError(last_line(error)) from error
    except RuntimeError as error:
        if not is_lack_of_shared_memory(error):
            raise
        raise shared_memory_error(options.worker_count) from error


@contextlib.contextmanager
def errors_with_resume_command(folder: RunFolder) -> Iterator[None]:
    """Add the command that resumes the run to errors such as a full disk."""
    try:
        yield
    except (RuntimeFault, CheckpointError) as error:
        raise TrainingError(
            f"{error}; after fixing that, resume with dsunet train --resume {folder.path}"
        ) from error


def last_line(error: Exception) -> str:
    """The message of an exception that another process raised with its traceback."""
    line = str(error).strip().splitlines()[-1]
    return re.sub(r"^[\w.]+: ", "", line)
