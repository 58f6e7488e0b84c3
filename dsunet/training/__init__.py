"""Training by the paper's protocol, resumable after any interruption.

Importing this package does not import PyTorch.

options             TrainingOptions, and those of distillation
run                 train and resume: the sequence of a run
loop                the epochs of a run, in one process
step                one optimizer step
loss                the paper's loss
distillation        the losses of a student from its teacher
schedule            the learning rate
initial_model       the model at the start, and the part of it that is trained
training_network    that model with the parts that only training has
training_data       the images and masks of a run, checked and hashed
loader              batches from worker processes
feature_cache       the frozen DINOv2's feature maps on disk
feature_extraction  the computation of these maps before the first epoch
recomputation       activation checkpointing
validation          metrics and contact sheets during a run
run_folder          the files of a run: config.json and log.csv
run_description     the content of config.json
state               the state that a run is resumed from
curve               the plot of the log
tensorboard         the log for TensorBoard
progress_report     progress on a terminal or in a log
progress_text       the first line of a run, and its memory
error_conversion    errors of PyTorch as errors of dsunet
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
