"""`dsunet train`: its options are those of TrainingOptions, where the defaults are."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from dsunet import training
from dsunet.config import PRESETS, DSUNetConfig, Injection
from dsunet.device import Device
from dsunet.errors import ConfigError, TrainingError
from dsunet.training.folder import RunFolder
from dsunet.training.options import Precision, TrainingOptions
from dsunet_runtime.command_options import (
    MAX_BATCH,
    MAX_COUNT,
    MAX_SEED,
    MAX_WORKERS,
    as_wrong_usage,
    folder_to_write,
    integer,
    number,
)

_MAX_RATE, _MAX_NORM = 1000.0, 1e9
_DEFAULT: Any = types.SimpleNamespace(
    **{field.name: field.default for field in dataclasses.fields(TrainingOptions)}
)

_CHANGEABLE = ("epochs", "workers")
"""Options that may be given with --resume."""


def train(
    ctx: typer.Context,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            callback=folder_to_write,
            help="The run folder, made by the run.",
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Go on with a run, with its own options; of others only --epochs, which lengthens "
            "it, and --workers.",
        ),
    ] = None,
    images: Annotated[Path | None, typer.Option(metavar="DIR", help="Images.")] = None,
    masks: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Their masks, of the same names.")
    ] = None,
    datasets: Annotated[
        list[Path] | None,
        typer.Option(
            "--dataset", metavar="DIR", help="A standard dataset instead; may be repeated."
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help=f"{', '.join(PRESETS)}.  [default: large, or that of --checkpoint]"),
    ] = None,
    injection: Annotated[
        Injection | None,
        typer.Option(
            help="last is the paper's; none, levels and all are its ablations A, B and C.  "
            "[default: last]",
            show_default=False,
        ),
    ] = None,
    sam2: Annotated[Path | None, typer.Option(metavar="FILE", help="SAM2's weights.")] = None,
    dinov2: Annotated[
        str | None, typer.Option(metavar="FILE", help="DINOv2's weights, or timm:NAME.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A DSU-Net to start from.")
    ] = None,
    train_encoders: Annotated[
        bool,
        typer.Option(
            "--train-encoders",
            help="Train the encoders too; without weights for them, from scratch.",
        ),
    ] = False,
    epochs: Annotated[
        int,
        integer(
            low=1,
            high=MAX_COUNT,
            help="Passes over the data.  More of them with --resume: the learning rate goes on "
            "along the cosine of so many epochs.",
        ),
    ] = _DEFAULT.epochs,
    batch: Annotated[
        int, integer(low=1, high=MAX_BATCH, help="Images of one step, over all devices and parts.")
    ] = _DEFAULT.batch,
    lr: Annotated[
        float, number(low=0, high=_MAX_RATE, help="Learning rate at the start.")
    ] = _DEFAULT.lr,
    min_lr: Annotated[
        float, number(low=0, high=_MAX_RATE, help="What cosine annealing leads to.")
    ] = _DEFAULT.min_lr,
    warmup: Annotated[
        float, number(low=0, high=MAX_COUNT, help="Epochs of a linear rise before that.")
    ] = _DEFAULT.warmup,
    weight_decay: Annotated[
        float, number(low=0, high=_MAX_RATE, help="AdamW's.")
    ] = _DEFAULT.weight_decay,
    clip: Annotated[
        float | None,
        number(low=0, high=_MAX_NORM, help="Largest norm of the gradient.  [default: any]"),
    ] = None,
    horizontal_flip: Annotated[
        float, number(low=0, high=1, help="Probability of mirroring left and right.")
    ] = _DEFAULT.horizontal_flip,
    vertical_flip: Annotated[
        float, number(low=0, high=1, help="Probability of mirroring top and bottom.")
    ] = _DEFAULT.vertical_flip,
    deep_supervision: Annotated[
        tuple[float, float, float],
        number(
            low=0,
            high=_MAX_RATE,
            metavar="COARSE MIDDLE FINE",
            help="Weights of the three outputs' losses.",
        ),
    ] = _DEFAULT.deep_supervision,
    weighted_bce: Annotated[
        bool,
        typer.Option(
            "--weighted-bce", help="Weigh the cross-entropy's pixels too; not as published."
        ),
    ] = False,
    seed: Annotated[
        int, integer(low=0, high=MAX_SEED, help="Of fresh weights, order and flips.")
    ] = _DEFAULT.seed,
    device: Annotated[Device, typer.Option(help="Where to train.")] = _DEFAULT.device,
    devices: Annotated[
        int,
        integer(low=1, high=MAX_WORKERS, help="How many, each taking a share of every batch."),
    ] = _DEFAULT.devices,
    precision: Annotated[
        Precision, typer.Option(help="What the network computes in.")
    ] = _DEFAULT.precision,
    accumulate: Annotated[
        int,
        integer(
            low=1,
            high=MAX_BATCH,
            help="Parts of a batch, computed one after the other to save memory.",
        ),
    ] = _DEFAULT.accumulate,
    checkpointing: Annotated[
        bool,
        typer.Option(
            "--checkpointing", help="Compute Hiera's blocks twice instead of keeping them."
        ),
    ] = False,
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            callback=folder_to_write,
            help="Keep what the frozen DINOv2 computes, for this and later runs.  An image of "
            "`large` takes 1 MB, with --injection all 11 MB, with levels 27 MB.",
        ),
    ] = None,
    workers: Annotated[
        int, integer(low=0, high=MAX_WORKERS, help="Processes that read images.")
    ] = _DEFAULT.workers,
    val_dataset: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A standard dataset to validate on.")
    ] = None,
    val_images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Images to validate on, instead.")
    ] = None,
    val_masks: Annotated[Path | None, typer.Option(metavar="DIR", help="Their masks.")] = None,
    val_every: Annotated[
        int, integer(low=1, high=MAX_COUNT, help="Epochs between two validations.")
    ] = _DEFAULT.val_every,
    val_count: Annotated[
        int, integer(low=1, high=MAX_COUNT, help="Images to validate on at most.")
    ] = _DEFAULT.val_count,
    save_every: Annotated[
        float, number(low=0, high=MAX_COUNT, help="Minutes between two saved states.")
    ] = _DEFAULT.save_every,
    save_all: Annotated[
        bool, typer.Option("--save-all", help="Write frozen encoders into checkpoints too.")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Log for TensorBoard too, in DIR/tensorboard.")
    ] = False,
) -> None:
    """Train on images and their masks; the defaults are the paper's protocol.

    A run folder holds config.json, log.csv, curve.png, overlays/, checkpoint.safetensors, with
    validation best.safetensors, and state/, from which --resume goes on, also after kill -9, to
    the same result.

    Exit codes: 0 trained, 1 something failed, 2 wrong usage, 130 interrupted.
    """
    values = locals()
    given = {name: values[name] for name in ctx.params if is_given(ctx, name)}
    if resume is not None:
        changed = {name: given.pop(name) for name in _CHANGEABLE if name in given}
        others = [o.opts[-1] for o in ctx.command.params if o.name in given and o.name != "resume"]
        if others:
            names = ", ".join(others)
            raise typer.BadParameter(f"a run goes on with its own options: leave {names} out")
        with _telling_how_to_go_on(resume):
            training.resume(resume, **changed)
        return
    if output is None:
        raise typer.BadParameter("name a run folder with -o, or one to go on with by --resume")
    with _telling_how_to_go_on(output):
        training.train(options_from(given))


@contextmanager
def _telling_how_to_go_on(folder: Path) -> Iterator[None]:
    """Let an interruption say it, if there is a run by then."""
    try:
        yield
    except KeyboardInterrupt:
        if RunFolder(folder).config.exists():
            raise KeyboardInterrupt(f"go on with dsunet train --resume {folder}") from None
        raise


def is_given(ctx: typer.Context, name: str) -> bool:
    """Whether an option is on the command line."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def options_from(given: dict[str, Any]) -> TrainingOptions:
    """What was given on the command line, the rest by default; what does not fit is wrong usage."""
    preset, injection = given.pop("preset", None), given.pop("injection", None)
    with as_wrong_usage(ConfigError, TrainingError):
        if preset is not None or injection is not None:
            if "checkpoint" in given and preset is None:
                raise typer.BadParameter(
                    "--checkpoint says its own injection: leave --injection out"
                )
            config = DSUNetConfig.preset(preset or "large")
            given["config"] = config.replace(injection=injection or config.injection)
        if "datasets" in given:
            given["datasets"] = tuple(given["datasets"])
        return TrainingOptions(**given)
