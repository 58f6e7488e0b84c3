"""The checkpoint of a run folder of `dsunet train`.  Does not import PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dsunet.errors import CheckpointError

BEST, LAST = "best.safetensors", "checkpoint.safetensors"
"""File names of the checkpoints in a run folder."""
Notice = Callable[[str], None]
"""Receives one-line notices about a file, for the log or the terminal."""


def find_checkpoint(path: str | Path, notice: Notice | None = None) -> Path:
    """Resolve a path to a checkpoint file: of a run folder, the best one, or else the last one.

    `notice` receives which one.  Raises CheckpointError if a folder has neither.
    """
    path = Path(path)
    try:
        is_folder = path.is_dir()
    except OSError:  # such as a name that is too long, reported when the file is read
        is_folder = False
    if not is_folder:
        return path
    for file in (path / BEST, path / LAST):
        if file.is_file():
            if notice is not None:
                notice(f"{path}: using {file.name}")
            return file
    raise CheckpointError(
        f"{path} is a folder without a checkpoint: give a checkpoint file, or a run folder with "
        f"{BEST} or {LAST}"
    )
