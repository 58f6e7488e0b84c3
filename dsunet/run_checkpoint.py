"""The checkpoint that stands for a whole run of `dsunet train`.  PyTorch is not imported here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dsunet.errors import CheckpointError
from dsunet.training.folder import RunFolder

Notice = Callable[[str], None]
"""Takes a line about what was chosen, or is odd about a file, for the log or the terminal."""


def find_checkpoint(path: str | Path, notice: Notice | None = None) -> Path:
    """The file itself, or of a run folder the best checkpoint, or else the last one.

    `notice` is told which.  Raises CheckpointError if a folder has neither.
    """
    path = Path(path)
    try:
        is_folder = path.is_dir()
    except OSError:  # a name too long, say, which reading tells
        is_folder = False
    if not is_folder:
        return path
    run = RunFolder(path)
    for file in (run.best, run.checkpoint):
        if file.is_file():
            if notice is not None:
                notice(f"{path}: taking its {file.name}")
            return file
    raise CheckpointError(
        f"{path} is a folder without a checkpoint: name a file, or the folder of a run with "
        f"{run.best.name} or {run.checkpoint.name}"
    )
