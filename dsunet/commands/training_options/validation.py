"""Options of the validation during a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dsunet.commands.help_panels import VALIDATION
from dsunet.commands.training_options.defaults import DEFAULT
from dsunet_runtime.commands.options import MAX_COUNT, integer


class ValidationOptions:
    """The options of the validation during a run."""

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
    ] = DEFAULT.val_every
    val_count: Annotated[
        int,
        integer(
            low=1,
            high=MAX_COUNT,
            help="Maximum number of validation images.",
            rich_help_panel=VALIDATION,
        ),
    ] = DEFAULT.val_count
