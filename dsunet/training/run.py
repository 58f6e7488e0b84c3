"""A run from its options, or from its folder, to its last epoch."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import platform
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from torch.multiprocessing.spawn import ProcessRaisedException

from dsunet.errors import DataError, TrainingError
from dsunet.model import DSUNet
from dsunet.pretrained import encoder_hashes
from dsunet.training.caching import filled_cache
from dsunet.training.checkpointing import checkpoint_blocks
from dsunet.training.data import TrainingData, find_data
from dsunet.training.folder import RunFolder
from dsunet.training.loop import Training
from dsunet.training.model import starting_model
from dsunet.training.options import Precision, TrainingOptions
from dsunet.training.report import Report
from dsunet.weight_files import checkpoint_sha256
from dsunet_runtime.errors import RuntimeFault

_PRECISIONS: dict[Precision, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    Precision.FP32: "32-true",
    Precision.BF16: "bf16-mixed",
    Precision.FP16: "16-mixed",
}
_STRATEGIES = {"cpu": "ddp_fork", "cuda": "ddp_spawn"}
"""How several processes begin; once CUDA is in use, it cannot be forked."""

_PACKAGES = ("dsunet", "torch", "lightning-fabric", "timm", "sam2", "numpy", "pillow")


def train(options: TrainingOptions, report: Report | None = None) -> None:
    """See `dsunet.training.train`."""
    folder = RunFolder(options.output)
    folder.refuse_started()
    data = find_data(options)
    _launch(options, data, folder, report or Report(), None)


def resume(path: Path, report: Report | None = None) -> None:
    """See `dsunet.training.resume`."""
    folder = RunFolder(path)
    config = folder.read_config()
    options = TrainingOptions.from_dict(config["options"])
    folder.remove_leftovers()
    data = find_data(options)
    if data.sha256 != config["data"]["sha256"]:
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
    with reproducible(), report if fabric.is_global_zero else contextlib.nullcontext():
        try:
            model = starting_model(options)
            ours = describe(options, model, data)
            if config is not None:
                _check_unchanged(config, ours, folder, report)
            cache = filled_cache(fabric, options, model, data, report)
            if config is None and fabric.is_global_zero:
                folder.start(ours)
            fabric.barrier()
            if options.checkpointing:
                checkpoint_blocks(model)
            Training(fabric, options, model, data, folder, report, cache).run()
        except torch.OutOfMemoryError as error:
            raise TrainingError(
                f"the GPU has too little memory for {options.batch} images in "
                f"{options.accumulate} parts: raise --accumulate, give --checkpointing or "
                "--precision bf16, or lower --batch"
            ) from error
        except RuntimeFault as error:  # a full disk, or a network that gives no numbers
            raise TrainingError(f"{error}; then go on with --resume {folder.path}") from error
        except DataError as error:  # from a worker, with its traceback
            raise DataError(last_line(error)) from error


def last_line(error: Exception) -> str:
    """The message of an exception that came with its traceback from another process."""
    line = str(error).strip().splitlines()[-1]
    return re.sub(r"^[\w.]+: ", "", line)


def make_fabric(options: TrainingOptions) -> Fabric:
    """Lightning's Fabric for the devices and the precision asked for."""
    device = options.device.resolve()
    if device.type == "cuda" and torch.cuda.device_count() < options.devices:
        raise TrainingError(
            f"--devices asks for {options.devices}, and PyTorch finds {torch.cuda.device_count()} "
            "GPUs here"
        )
    if device.type == "cpu" and options.precision is Precision.FP16:
        raise TrainingError("CPUs do not train in fp16: choose --precision bf16 or fp32")
    return Fabric(
        accelerator=device.type,
        devices=options.devices,
        strategy="auto" if options.devices == 1 else _STRATEGIES[device.type],
        precision=_PRECISIONS[options.precision],
    )


def describe(options: TrainingOptions, model: DSUNet, data: TrainingData) -> dict[str, Any]:
    """Everything that a run depends on, for its config.json; `model` is what it starts with."""
    from_files = any((options.checkpoint, options.sam2, options.dinov2))
    return {
        "options": options.absolute().to_dict(),
        "model": model.config.to_dict(),
        "data": {
            "pairs": len(data.pairs),
            "val_pairs": len(data.val_pairs),
            "sha256": data.sha256,
        },
        "encoders": encoder_hashes(model.state_dict()) if from_files else {},
        "checkpoint_sha256": options.checkpoint and checkpoint_sha256(options.checkpoint),
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
    }


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


def _check_unchanged(
    config: dict[str, Any], ours: dict[str, Any], folder: RunFolder, report: Report
) -> None:
    """Raise TrainingError if a run would go on from other weights; say if packages changed."""
    for name in ("encoders", "checkpoint_sha256"):
        if config.get(name) != ours[name]:
            raise TrainingError(
                f"the weights that {folder.path} was started from have changed ({name}): restore "
                "their files, or start another run"
            )
    changed = [
        name
        for name, version in ours["versions"].items()
        if config["versions"].get(name) != version
    ]
    if changed:
        report.say(f"not the {', '.join(changed)} it began with: last digits may differ")
