"""Options of the run folder and of what is saved in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dsunet.commands.training_options.defaults import DEFAULT
from dsunet_runtime.commands.options import MAX_COUNT, OUTPUT, number, output_folder


class OutputOptions:
    """The options of the run folder and of what is saved in it."""

    output: Annotated[
        Path | None,
        output_folder("Run folder; created by the run."),
    ] = None
    save_every: Annotated[
        float,
        number(
            low=0,
            high=MAX_COUNT,
            help="Minutes between two saves of the training state; 0 saves it after every step.",
            rich_help_panel=OUTPUT,
        ),
    ] = DEFAULT.save_every
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
