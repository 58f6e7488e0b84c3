"""Training: the paper's protocol, made to go on after any interruption.

`options` says what can be asked, `folder` what a run leaves behind, `run` and `loop` in which order
things happen.  Importing this package does not import PyTorch.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from dsunet.errors import MissingExtraError
from dsunet.training.options import TrainingOptions

if TYPE_CHECKING:
    from dsunet.training.report import Report

__all__ = ["TrainingOptions", "resume", "train"]


def train(options: TrainingOptions, report: Report | None = None) -> None:
    """Train a DSU-Net into the run folder `options.output`.

    Raises DataError, CheckpointError or TrainingError, before anything is written if the run
    cannot start as asked; MissingExtraError if a package is not installed.
    """
    _run().train(options, report)


def resume(
    path: Path,
    report: Report | None = None,
    *,
    epochs: int | None = None,
    workers: int | None = None,
) -> None:
    """Go on with the run in a folder, with the options that it was started with.

    The result is that of a run that was not interrupted.  `epochs` lengthens the run: from where
    it is, the learning rate follows the cosine of so many epochs.  `workers` is how many processes
    read images from now on, which does not change the result.  Raises the same as `train`.
    """
    _run().resume(path, report, epochs=epochs, workers=workers)


def _run() -> ModuleType:
    try:
        from dsunet.training import run
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error, "train") from error
    return run
