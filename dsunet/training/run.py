"""A run from its options, or from its folder, to its last epoch."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from torch.multiprocessing.spawn import ProcessRaisedException

from dsunet.errors import TrainingError
from dsunet.training.caching import filled_cache
from dsunet.training.checkpointing import checkpoint_blocks
from dsunet.training.data import TrainingData, find_data
from dsunet.training.description import check_unchanged, describe
from dsunet.training.faults import last_line, named_faults, resumable
from dsunet.training.folder import RunFolder
from dsunet.training.loop import Training
from dsunet.training.model import starting_model
from dsunet.training.options import Precision, TrainingOptions
from dsunet.training.progress import start_line
from dsunet.training.report import Report
from dsunet.training.schedule import learning_rate
from dsunet.training.state import Position
from dsunet.training.tensorboard import require_tensorboard

_PRECISIONS: dict[Precision, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    Precision.FP32: "32-true",
    Precision.BF16: "bf16-mixed",
    Precision.FP16: "16-mixed",
}
_STRATEGIES = {"cpu": "ddp_fork", "cuda": "ddp_spawn"}
"""How several processes begin; once CUDA is in use, it cannot be forked."""


def train(options: TrainingOptions, report: Report | None = None) -> None:
    """See `dsunet.training.train`."""
    folder = RunFolder(options.output)
    folder.refuse_started()
    _launch(options, find_data(options), folder, report or Report(), None)


def resume(
    path: Path,
    report: Report | None = None,
    *,
    epochs: int | None = None,
    workers: int | None = None,
) -> None:
    """See `dsunet.training.resume`."""
    folder = RunFolder(path)
    config = folder.read_config()
    begun = TrainingOptions.from_dict(config["options"])
    if epochs is not None and epochs < begun.epochs:
        raise TrainingError(
            f"{path} is a run of {begun.epochs} epochs, which --epochs can raise and not lower"
        )
    options = dataclasses.replace(
        begun,
        epochs=begun.epochs if epochs is None else epochs,
        workers=begun.workers if workers is None else workers,
    )
    data = find_data(options)
    if data.sha256 != config["data"].get("sha256"):
        raise TrainingError(
            f"the images or masks are not those that {path} was started with: restore them, or "
            "start another run"
        )
    _launch(options, data, folder, report or Report(), config)


def _launch(
    options: TrainingOptions,
    data: TrainingData,
    folder: RunFolder,
    report: Report,
    config: dict[str, Any] | None,
) -> None:
    if options.tensorboard:
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
    report: Report,
    config: dict[str, Any] | None,
) -> None:
    """What every process does; `config` is that of a run to go on with."""
    with (
        reproducible(),
        named_faults(options),
        report if fabric.is_global_zero else contextlib.nullcontext(),
    ):
        model = starting_model(options, report.say)
        report.say(start_line(options, data, model, fabric.device))
        found = describe(options, model, data)
        if config is not None:
            check_unchanged(config, found, folder, report)
        cache = filled_cache(fabric, options, model, data, report)
        if options.checkpointing:
            checkpoint_blocks(model)
        begun = config or {"run": uuid.uuid4().hex, **found}
        training = Training(fabric, options, model, data, folder, begun["run"], report, cache)
        if fabric.is_global_zero:
            if config is None:
                folder.start(begun)
            elif options.to_dict() != config["options"]:
                _record_changes(config, options, training.position, folder, report)
        fabric.barrier()
        with resumable(folder):
            training.run()


def _record_changes(
    config: dict[str, Any],
    options: TrainingOptions,
    position: Position,
    folder: RunFolder,
    report: Report,
) -> None:
    """Write the options that a run goes on with into its config.json, and since when it does."""
    before, epochs = config["options"]["epochs"], options.epochs
    if epochs != before:
        change = {"from": before, "to": epochs, "epoch": position.epoch, "step": position.step}
        config = {**config, "lengthened": [*config.get("lengthened", []), change]}
        rate = learning_rate(options, position.epoch, 0, 1)
        report.say(
            f"lengthened from {before} to {epochs} epochs: the learning rate goes on along the "
            f"cosine of {epochs} epochs, at {rate:.2e}"
        )
    folder.write_config({**config, "options": options.to_dict()})


def make_fabric(options: TrainingOptions) -> Fabric:
    """Lightning's Fabric for the devices and the precision asked for."""
    device = options.device.resolve()
    if device.type == "cuda" and torch.cuda.device_count() < options.devices:
        raise TrainingError(
            f"--devices asks for {options.devices}, and PyTorch finds {torch.cuda.device_count()} "
            "GPUs here"
        )
    cores = os.cpu_count() or 1
    if device.type == "cpu" and options.devices > cores:
        raise TrainingError(
            f"--devices asks for {options.devices} processes, and this machine has {cores} cores"
        )
    if device.type == "cpu" and options.precision is Precision.FP16:
        raise TrainingError("CPUs do not train in fp16: choose --precision bf16 or fp32")
    return Fabric(
        accelerator=device.type,
        devices=options.devices,
        strategy="auto" if options.devices == 1 else _STRATEGIES[device.type],
        precision=_PRECISIONS[options.precision],
    )


@contextlib.contextmanager
def reproducible() -> Iterator[None]:
    """Ask PyTorch for the same numbers every time, as far as it can, while in it."""
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
