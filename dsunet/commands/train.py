"""The command `dsunet train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dsunet import training
from dsunet.commands.training_options.command_line import (
    interruption_with_resume_command,
    options_from,
    with_training_options,
)
from dsunet.training.run_folder import RunFolder
from dsunet_runtime.commands.app import examples
from dsunet_runtime.commands.options import OUTPUT

_CHANGEABLE = ("epochs", "workers")
"""Options that may be given with --resume."""

_DATA = {"images", "masks", "datasets", "val_images", "val_masks", "val_dataset"}
"""Options that are paths of images or masks."""

EXAMPLES = examples(
    "dsunet train --dataset COD10K --val-dataset CAMO --sam2 FILE --dinov2 FILE -o runs/cod",
    "dsunet train --images images/ --masks masks/ --preset nano --train-encoders -o runs/nano",
    "dsunet train --resume runs/cod",
)


@with_training_options
def train(
    ctx: typer.Context,
    given: dict[str, Any],
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Resume the run in this folder with its own options.  Of the others, only "
            "--epochs, to lengthen the run, and --workers may be given.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
) -> None:
    """Train a DSU-Net on images and their masks.

    The defaults are the paper's protocol.  The run folder holds config.json, log.csv, curve.png,
    overlays/, checkpoint.safetensors, best.safetensors (with validation) and state/.

    A run that was interrupted, also by kill -9, is continued by --resume with the same result as
    an uninterrupted run.
    """
    if resume is not None:
        changed = {name: given.pop(name) for name in _CHANGEABLE if name in given}
        others = [option.opts[-1] for option in ctx.command.params if option.name in given]
        if others:
            names = ", ".join(others)
            moved = ""
            if given.keys() & _DATA:
                moved = (
                    "; if the images or masks have moved, restore them at their path, or change "
                    f"the path in {RunFolder(resume).config} and set its checksum to null"
                )
            raise typer.BadParameter(f"--resume takes the options of the run: omit {names}{moved}")
        with interruption_with_resume_command(resume):
            training.resume(resume, **changed)
        return
    if "output" not in given:
        raise typer.BadParameter(
            "give a new run folder with -o DIR, or an existing one with --resume DIR"
        )
    with interruption_with_resume_command(given["output"]):
        training.train(options_from(given))
