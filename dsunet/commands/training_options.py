"""The options of a training run on the command line, with the defaults of TrainingOptions."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from dsunet.commands.checkpoint_options import DinoSize, HieraSize
from dsunet.commands.help_panels import COMPUTATION, DATA, MODEL, OPTIMIZATION, VALIDATION
from dsunet.device import TorchDevice
from dsunet.errors import ConfigError, TrainingError
from dsunet.network.config import PRESETS, Decoder, DSUNetConfig, Injection
from dsunet.training.folder import RunFolder
from dsunet.training.options import TrainingOptions, TrainingPrecision
from dsunet.training.tensorboard import check_tensorboard_folder
from dsunet_runtime.commands.options import (
    MAX_BATCH,
    MAX_COUNT,
    MAX_SEED,
    MAX_WORKERS,
    OUTPUT,
    as_wrong_usage,
    folder_to_write,
    integer,
    number,
    output_folder,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MAX_RATE = 1000.0
"""The largest learning rate, weight decay and weight of a loss."""
_MAX_NORM = 1e9


def defaults_of(kind: type[DataclassInstance]) -> Any:
    """The defaults of a dataclass, as attributes."""
    return types.SimpleNamespace(**{one.name: one.default for one in dataclasses.fields(kind)})


_DEFAULT = defaults_of(TrainingOptions)


class RunOptions:
    """The options, in the order of the help texts."""

    output: Annotated[
        Path | None,
        output_folder("Run folder; created by the run."),
    ] = None
    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of training images.", rich_help_panel=DATA),
    ] = None
    masks: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of their masks, with the same file stems.",
            rich_help_panel=DATA,
        ),
    ] = None
    datasets: Annotated[
        list[Path] | None,
        typer.Option(
            "--dataset",
            metavar="DIR",
            help="Dataset in its published folder layout, instead of --images and --masks.  "
            "Repeatable.",
            rich_help_panel=DATA,
        ),
    ] = None
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"Network size: {', '.join(PRESETS)}.  [default: large, or that of --checkpoint]",
            rich_help_panel=MODEL,
        ),
    ] = None
    injection: Annotated[
        Injection | None,
        typer.Option(
            help="Hiera levels that receive DINOv2 features: last as in the paper; none, levels "
            "and all are its ablations A, B and C.  [default: last]",
            show_default=False,
            rich_help_panel=MODEL,
        ),
    ] = None
    decoder: Annotated[
        Decoder | None,
        typer.Option(
            help="sff: attention, as in the paper; unet: convolutions, as in SAM2-UNet, which is "
            "--injection none --decoder unet.  [default: sff]",
            show_default=False,
            rich_help_panel=MODEL,
        ),
    ] = None
    sam2: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="SAM2 or SAM2.1 weights for Hiera.", rich_help_panel=MODEL
        ),
    ] = None
    dinov2: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="DINOv2 weights, a file or timm:NAME.", rich_help_panel=MODEL
        ),
    ] = None
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="DSU-Net checkpoint to start from.", rich_help_panel=MODEL
        ),
    ] = None
    hiera_size: HieraSize = None
    dino_size: DinoSize = None
    train_encoders: Annotated[
        bool,
        typer.Option(
            "--train-encoders",
            help="Train the encoders too; from scratch if no weights are given for them.",
            rich_help_panel=MODEL,
        ),
    ] = False
    epochs: Annotated[
        int,
        integer(
            low=1,
            high=MAX_COUNT,
            help="Number of epochs.  With --resume, a larger number lengthens the run, and the "
            "learning rate follows the cosine schedule of that length.",
            rich_help_panel=OPTIMIZATION,
        ),
    ] = _DEFAULT.epochs
    batch: Annotated[
        int,
        integer(
            low=1,
            high=MAX_BATCH,
            help="Batch size of one optimizer step, over all devices and accumulation steps.",
            rich_help_panel=OPTIMIZATION,
        ),
    ] = _DEFAULT.batch
    lr: Annotated[
        float,
        number(
            low=0,
            high=MAX_RATE,
            exclusive=True,
            help="Initial learning rate.",
            rich_help_panel=OPTIMIZATION,
        ),
    ] = _DEFAULT.lr
    min_lr: Annotated[
        float,
        number(
            low=0,
            high=MAX_RATE,
            help="Final learning rate of the cosine schedule.",
            rich_help_panel=OPTIMIZATION,
        ),
    ] = _DEFAULT.min_lr
    warmup: Annotated[
        float,
        number(
            low=0,
            high=MAX_COUNT,
            help="Epochs of linear learning-rate warm-up.",
            rich_help_panel=OPTIMIZATION,
        ),
    ] = _DEFAULT.warmup
    weight_decay: Annotated[
        float,
        number(low=0, high=MAX_RATE, help="Weight decay of AdamW.", rich_help_panel=OPTIMIZATION),
    ] = _DEFAULT.weight_decay
    clip: Annotated[
        float | None,
        number(
            low=0,
            high=_MAX_NORM,
            exclusive=True,
            help="Maximum gradient norm; larger gradients are clipped.  [default: no clipping]",
            rich_help_panel=OPTIMIZATION,
        ),
    ] = None
    horizontal_flip: Annotated[
        float,
        number(
            low=0,
            high=1,
            help="Probability of a horizontal flip (left-right).",
            rich_help_panel=DATA,
        ),
    ] = _DEFAULT.horizontal_flip
    vertical_flip: Annotated[
        float,
        number(
            low=0,
            high=1,
            help="Probability of a vertical flip (top-bottom).",
            rich_help_panel=DATA,
        ),
    ] = _DEFAULT.vertical_flip
    deep_supervision: Annotated[
        tuple[float, float, float],
        number(
            low=0,
            high=MAX_RATE,
            metavar="COARSE MIDDLE FINE",
            help="Loss weights of the three decoder outputs.",
            rich_help_panel=OPTIMIZATION,
        ),
    ] = _DEFAULT.deep_supervision
    weighted_bce: Annotated[
        bool,
        typer.Option(
            "--weighted-bce",
            help="Weight the pixels of the cross-entropy too, unlike the published code.",
            rich_help_panel=OPTIMIZATION,
        ),
    ] = False
    dino_loss: Annotated[
        float,
        number(
            low=0,
            high=MAX_RATE,
            help="Loss weight of an auxiliary head on DINOv2's map, with --train-encoders.  "
            "Checkpoints do not have the head.",
            rich_help_panel=OPTIMIZATION,
        ),
    ] = _DEFAULT.dino_loss
    blend_hiera: Annotated[
        float,
        number(
            low=0,
            high=1,
            help="Probability, for each image, of blending Hiera's input with another image, "
            "so that the network has to learn from DINOv2 which of them to segment.",
            rich_help_panel=OPTIMIZATION,
        ),
    ] = _DEFAULT.blend_hiera
    mismatch: Annotated[
        float,
        number(
            low=0,
            high=1,
            help="Probability, for each image, of replacing the map of one encoder by zeros or "
            "another image's, with an empty mask as the target, so that the network segments "
            "only what both encoders see.",
            rich_help_panel=OPTIMIZATION,
        ),
    ] = _DEFAULT.mismatch
    seed: Annotated[
        int,
        integer(
            low=0,
            high=MAX_SEED,
            help="Random seed of new weights, sample order and flips.",
            rich_help_panel=OPTIMIZATION,
        ),
    ] = _DEFAULT.seed
    device: Annotated[
        TorchDevice,
        typer.Option(
            help="Device to train on; auto is CUDA if available, else the CPU.",
            rich_help_panel=COMPUTATION,
        ),
    ] = _DEFAULT.device
    devices: Annotated[
        int,
        integer(
            low=1,
            high=MAX_WORKERS,
            help="Number of devices that each batch is divided among.",
            rich_help_panel=COMPUTATION,
        ),
    ] = _DEFAULT.devices
    precision: Annotated[
        TrainingPrecision,
        typer.Option(
            help="Precision of the forward and backward passes.", rich_help_panel=COMPUTATION
        ),
    ] = _DEFAULT.precision
    accumulate: Annotated[
        int,
        integer(
            low=1,
            high=MAX_BATCH,
            help="Gradient accumulation steps per batch; more use less memory.",
            rich_help_panel=COMPUTATION,
        ),
    ] = _DEFAULT.accumulate
    checkpointing: Annotated[
        bool,
        typer.Option(
            "--checkpointing",
            help="Recompute activations of the encoder blocks in the backward pass, to save memory "
            "(activation checkpointing).",
            rich_help_panel=COMPUTATION,
        ),
    ] = False
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            callback=folder_to_write,
            help="Cache the frozen DINOv2's feature maps here, for this and later runs.  For "
            "large, 1 MB per image; 11 MB with --injection all, 27 MB with levels.  Not with "
            "--train-encoders.",
            rich_help_panel=COMPUTATION,
        ),
    ] = None
    workers: Annotated[
        int,
        integer(
            low=0,
            high=MAX_WORKERS,
            help="Number of processes that load images; 0 loads them in the main process.",
            rich_help_panel=COMPUTATION,
        ),
    ] = _DEFAULT.workers
    val_dataset: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Validation dataset in its published folder layout.",
            rich_help_panel=VALIDATION,
        ),
    ] = None
    val_images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of validation images, instead of --val-dataset.",
            rich_help_panel=VALIDATION,
        ),
    ] = None
    val_masks: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the masks of --val-images.",
            rich_help_panel=VALIDATION,
        ),
    ] = None
    val_every: Annotated[
        int,
        integer(
            low=1,
            high=MAX_COUNT,
            help="Validate every N epochs, and after the last.",
            rich_help_panel=VALIDATION,
        ),
    ] = _DEFAULT.val_every
    val_count: Annotated[
        int,
        integer(
            low=1,
            high=MAX_COUNT,
            help="Maximum number of validation images.",
            rich_help_panel=VALIDATION,
        ),
    ] = _DEFAULT.val_count
    save_every: Annotated[
        float,
        number(
            low=0,
            high=MAX_COUNT,
            help="Minutes between two saves of the training state.",
            rich_help_panel=OUTPUT,
        ),
    ] = _DEFAULT.save_every
    save_all: Annotated[
        bool,
        typer.Option(
            "--save-all",
            help="Save the frozen encoders in the checkpoints too.",
            rich_help_panel=OUTPUT,
        ),
    ] = False
    tensorboard: Annotated[
        bool,
        typer.Option(
            "--tensorboard",
            help="Also log to TensorBoard, in DIR/tensorboard.",
            rich_help_panel=OUTPUT,
        ),
    ] = False


def with_run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add `RunOptions` to a command, which receives those on the command line as `given`.

    Its parameter `ctx` is Typer's context.
    """
    own = dict(inspect.signature(command, eval_str=True).parameters)
    del own["given"]
    hints = get_type_hints(RunOptions, include_extras=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    added = [
        inspect.Parameter(name, keyword, default=getattr(RunOptions, name), annotation=hint)
        for name, hint in hints.items()
    ]

    @functools.wraps(command)
    def run(**values: Any) -> None:
        of_run = {name: values.pop(name) for name in hints}
        given = {name: value for name, value in of_run.items() if is_given(values["ctx"], name)}
        command(**values, given=given)

    parameters = [*(one.replace(kind=keyword) for one in own.values()), *added]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


@contextmanager
def naming_resume_command(folder: Path) -> Iterator[None]:
    """Add the command that resumes the run to an interruption, if the run has started."""
    try:
        yield
    except KeyboardInterrupt:
        if RunFolder(folder).config.exists():
            raise KeyboardInterrupt(f"resume with dsunet train --resume {folder}") from None
        raise


def is_given(ctx: typer.Context, name: str) -> bool:
    """Whether an option is on the command line."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def options_from(given: dict[str, Any]) -> TrainingOptions:
    """The training options from those on the command line; a conflict is wrong usage."""
    preset = given.pop("preset", None)
    parts = {name: given.pop(name) for name in ("injection", "decoder") if name in given}
    with as_wrong_usage(ConfigError, TrainingError):
        if preset is not None or parts:
            if "checkpoint" in given and preset is None:
                option = next(iter(parts))
                raise typer.BadParameter(
                    f"--checkpoint determines the {option}: leave --{option} out"
                )
            config = DSUNetConfig.preset(preset or "large").replace(**parts)
            config.resized(hiera_size=given.get("hiera_size"), dino_size=given.get("dino_size"))
            given["config"] = config
        if "datasets" in given:
            given["datasets"] = tuple(given["datasets"])
        options = TrainingOptions(**given)
        if options.tensorboard:
            check_tensorboard_folder(options.output)
        return options
