"""Training by the paper's protocol, resumable after any interruption.

`options` has the options, `folder` the files of a run, `run` and `loop` the sequence of its steps.
Importing this package does not import PyTorch.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from dsunet.training.options import TrainingOptions
from dsunet_runtime.extras import needs_extra

if TYPE_CHECKING:
    from dsunet.training.progress_report import ProgressReport

__all__ = ["TrainingOptions", "resume", "train"]


def train(options: TrainingOptions, report: ProgressReport | None = None) -> None:
    """Train a DSU-Net into the run folder `options.output`.

    Args:
        options: All options of the run.
        report: Prints the progress; by default on stderr.

    Raises:
        DataError: Images or masks cannot be used.
        CheckpointError: A weight file cannot be used.
        TrainingError: The run cannot start (nothing is written then), or fails.
        MissingExtraError: A package is not installed.

    Example:
        >>> config = DSUNetConfig.preset("nano")
        >>> train(
        ...     TrainingOptions(
        ...         output=Path("runs/nano"),
        ...         datasets=(Path("scenes"),),
        ...         config=config,
        ...         train_encoders=True,
        ...     )
        ... )
    """
    _run().train(options, report)


def resume(
    path: Path,
    report: ProgressReport | None = None,
    *,
    epochs: int | None = None,
    workers: int | None = None,
) -> None:
    """Resume the run in a folder, with the options that it was started with.

    The result is identical to that of an uninterrupted run.

    Args:
        path: The run folder.
        report: Prints the progress; by default on stderr.
        epochs: New number of epochs, at least the old one.  From here on, the learning rate follows
            the cosine schedule of that length.
        workers: New number of processes that load images; it does not change the result.

    Raises:
        DSUNetError: The same errors as `train`.
    """
    _run().resume(path, report, epochs=epochs, workers=workers)


def _run() -> ModuleType:
    with needs_extra("train"):
        from dsunet.training import run
    return run
