"""Options of the training data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dsunet.commands.help_panels import DATA
from dsunet.commands.training_options.defaults import DEFAULT
from dsunet_runtime.commands.options import number


class DataOptions:
    """The options of the training data."""

    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of training images.", rich_help_panel=DATA),
    ] = None
    masks: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the masks of --images, with the same file stems.",
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
    horizontal_flip: Annotated[
        float,
        number(
            low=0,
            high=1,
            help="Probability of a horizontal flip (left-right).",
            rich_help_panel=DATA,
        ),
    ] = DEFAULT.horizontal_flip
    vertical_flip: Annotated[
        float,
        number(
            low=0,
            high=1,
            help="Probability of a vertical flip (top-bottom).",
            rich_help_panel=DATA,
        ),
    ] = DEFAULT.vertical_flip
