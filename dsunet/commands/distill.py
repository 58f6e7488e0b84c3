"""The command `dsunet distill`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dsunet import training
from dsunet.commands.help_panels import TEACHER
from dsunet.commands.training_options.command_line import (
    interruption_with_resume_command,
    options_from,
    with_training_options,
)
from dsunet.commands.training_options.defaults import DISTILLATION_DEFAULT, MAX_RATE
from dsunet.errors import TrainingError
from dsunet.training.options import Distillation
from dsunet_runtime.commands.app import examples
from dsunet_runtime.commands.options import as_wrong_usage, number

EXAMPLES = examples(
    "dsunet distill nano.safetensors --preset pico --dataset scenes --train-encoders -o runs/pico",
    "dsunet distill runs/large --teacher-sam2 L.pt --teacher-dinov2 L.pth --preset tiny "
    "--sam2 T.pt --dinov2 S.pth --dataset DUTS --unlabelled photos/ -o runs/tiny",
)


@with_training_options
def distill(
    ctx: typer.Context,
    given: dict[str, Any],
    teacher: Annotated[
        Path,
        typer.Argument(
            metavar="TEACHER", help="Checkpoint file, or a run folder.", show_default=False
        ),
    ],
    teacher_sam2: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="SAM2 or SAM2.1 weights, for a teacher's checkpoint without the encoders.",
            rich_help_panel=TEACHER,
        ),
    ] = None,
    teacher_dinov2: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="DINOv2 weights, a file or timm:NAME, for a teacher's checkpoint without the "
            "encoders.",
            rich_help_panel=TEACHER,
        ),
    ] = None,
    unlabelled: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Folder of images without masks, for training on the teacher's outputs alone.  "
            "Repeatable.  With it, images with masks are optional.",
            rich_help_panel=TEACHER,
        ),
    ] = None,
    logit_loss: Annotated[
        float,
        number(
            low=0,
            high=MAX_RATE,
            help="Loss weight of the difference from the teacher's logits.",
            rich_help_panel=TEACHER,
        ),
    ] = DISTILLATION_DEFAULT.logit_loss,
    map_loss: Annotated[
        float,
        number(
            low=0,
            high=MAX_RATE,
            help="Loss weight of the difference from the teacher's four maps after injection.",
            rich_help_panel=TEACHER,
        ),
    ] = DISTILLATION_DEFAULT.map_loss,
) -> None:
    """Train a small DSU-Net to imitate a trained one.

    The network of --preset, the student, is trained on the logits and feature maps of TEACHER, and
    on the masks of images that have one.  The teacher may have another preset, other input sizes
    and another injection.  All other options are those of `dsunet train`, which also resumes the
    run; a resumed run needs the same teacher.
    """
    if "output" not in given:
        raise typer.BadParameter("give a new run folder with -o DIR")
    with as_wrong_usage(TrainingError):
        given["distillation"] = Distillation(
            teacher=teacher,
            sam2=teacher_sam2,
            dinov2=teacher_dinov2,
            unlabelled=tuple(unlabelled or ()),
            logit_loss=logit_loss,
            map_loss=map_loss,
        )
    with interruption_with_resume_command(given["output"]):
        training.train(options_from(given))
