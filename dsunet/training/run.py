"""Start or resume a run."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch
from lightning_fabric import Fabric
from torch.multiprocessing.spawn import ProcessRaisedException

from dsunet.errors import DataError, TrainingError
from dsunet.training.error_conversion import converted_errors, errors_with_resume_command, last_line
from dsunet.training.feature_extraction import extract_features
from dsunet.training.initial_model import initial_model, teacher_model
from dsunet.training.loop import TrainingLoop
from dsunet.training.options import TrainingOptions, TrainingPrecision
from dsunet.training.progress_report import ProgressReport
from dsunet.training.progress_text import start_line
from dsunet.training.recomputation import recompute_blocks
from dsunet.training.run_description import check_unchanged, describe_run
from dsunet.training.run_folder import RunConfig, RunFolder
from dsunet.training.schedule import learning_rate
from dsunet.training.state import Position
from dsunet.training.tensorboard import check_tensorboard_folder, require_tensorboard
from dsunet.training.training_data import TrainingData, find_training_data

_PRECISIONS: dict[TrainingPrecision, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    TrainingPrecision.FP32: "32-true",
    TrainingPrecision.BF16: "bf16-mixed",
    TrainingPrecision.FP16: "16-mixed",
}


def train(options: TrainingOptions, report: ProgressReport | None = None) -> None:
    """See `dsunet.training.train`."""
    folder = RunFolder(options.output)
    folder.refuse_started()
    _launch(options, find_training_data(options), folder, report or ProgressReport(), None)


def resume(
    path: Path,
    report: ProgressReport | None = None,
    *,
    epochs: int | None = None,
    workers: int | None = None,
) -> None:
    """See `dsunet.training.resume`."""
    folder = RunFolder(path)
    config = folder.read_config()
    original = config.options
    if epochs is not None and epochs < original.epochs:
        raise TrainingError(
            f"{path} is a run of {original.epochs} epochs: --epochs can only increase that"
        )
    options = dataclasses.replace(
        original,
        epochs=original.epochs if epochs is None else epochs,
        workers=original.workers if workers is None else workers,
    )
    _check_folders(options, folder)
    data = find_training_data(options)
    if data.sha256 != config.data.sha256:
        raise TrainingError(
            f"the images or masks have changed since {path} was started: restore them, or start a "
            "new run"
        )
    _launch(options, data, folder, report or ProgressReport(), config)


def _check_folders(options: TrainingOptions, folder: RunFolder) -> None:
    """Raise DataError if a folder of images or masks is no longer at its path in config.json."""
    named = (options.images, options.masks, *options.datasets, *options.unlabelled)
    for path in (*named, options.val_images, options.val_masks, options.val_dataset):
        if path is not None and not path.is_dir():
            raise DataError(
                f"{path}: is not a folder: restore it at that path, or change the path in "
                f"{folder.config} and set its checksum to null"
            )


def _launch(
    options: TrainingOptions,
    data: TrainingData,
    folder: RunFolder,
    report: ProgressReport,
    config: RunConfig | None,
) -> None:
    if options.tensorboard:
        check_tensorboard_folder(folder.path)
        require_tensorboard()
    fabric = make_fabric(options)
    run = functools.partial(
        _run, options=options, data=data, folder=folder, report=report, config=config
    )
    try:
        if options.devices == 1:
            run(fabric)
        else:
            fabric.launch(run)
    except ProcessRaisedException as error:
        raise TrainingError(last_line(error)) from error


def _run(
    fabric: Fabric,
    options: TrainingOptions,
    data: TrainingData,
    folder: RunFolder,
    report: ProgressReport,
    config: RunConfig | None,
) -> None:
    """Train in one process; `config` is that of a run to resume."""
    with (
        reproducible(),
        converted_errors(options),
        report if fabric.is_global_zero else contextlib.nullcontext(),
    ):
        model = initial_model(options, report.say)
        teacher = teacher_model(options, report.say)
        report.say(start_line(options, data, model, fabric.device))
        description = describe_run(options, model, data)
        if config is not None:
            check_unchanged(config, description, folder, report)
        cache = extract_features(fabric, options, model, data, report)
        if options.checkpointing:
            recompute_blocks(model)
        run = (config or description).run
        training = TrainingLoop(fabric, options, model, data, folder, run, report, cache, teacher)
        if fabric.is_global_zero:
            if config is None:
                folder.start(description)
            elif options != config.options:
                _record_changes(config, options, training.position, folder, report)
        fabric.barrier()
        with errors_with_resume_command(folder):
            training.run()


def _record_changes(
    config: RunConfig,
    options: TrainingOptions,
    position: Position,
    folder: RunFolder,
    report: ProgressReport,
) -> None:
    """Record the changed options of a resumed run, and their position, in config.json."""
    before, epochs = config.options.epochs, options.epochs
    if epochs != before:
        change = {"from": before, "to": epochs, "epoch": position.epoch, "step": position.step}
        config = dataclasses.replace(config, lengthened=(*config.lengthened, change))
        rate = learning_rate(options, position.epoch, 0, 1)
        report.say(
            f"lengthened from {before} to {epochs} epochs: the learning rate continues at "
            f"{rate:.2e}, on the cosine schedule of {epochs} epochs"
        )
    folder.write_config(dataclasses.replace(config, options=options))


def make_fabric(options: TrainingOptions) -> Fabric:
    """Create Lightning's Fabric for the devices and the precision of the options."""
    device = options.device.resolve()
    if device.type == "cuda" and torch.cuda.device_count() < options.devices:
        raise TrainingError(
            f"--devices is {options.devices}, but PyTorch finds {torch.cuda.device_count()} GPUs "
            "on this machine"
        )
    cores = os.cpu_count() or 1
    if device.type == "cpu" and options.devices > cores:
        raise TrainingError(f"--devices is {options.devices}, but this machine has {cores} cores")
    if device.type == "cpu" and options.precision is TrainingPrecision.FP16:
        raise TrainingError("training on a CPU does not support fp16: use --precision bf16 or fp32")
    return Fabric(
        accelerator=device.type,
        devices=options.devices,
        # A process in which CUDA or another library has started threads cannot be forked.
        strategy="auto" if options.devices == 1 else "ddp_spawn",
        precision=_PRECISIONS[options.precision],
    )


@contextlib.contextmanager
def reproducible() -> Iterator[None]:
    """Use PyTorch's deterministic algorithms, as far as available, inside the context."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*deterministic implementation")
            warnings.filterwarnings("ignore", message="Grad strides do not match")
            yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
