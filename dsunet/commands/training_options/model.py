"""Options of the network and of its initial weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dsunet.commands.checkpoint_options import DinoSize, HieraSize
from dsunet.commands.help_panels import MODEL
from dsunet.network.config import PRESETS, Decoder, Injection


class ModelOptions:
    """The options of the network and of its initial weights."""

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
            metavar="FILE",
            help="DSU-Net checkpoint, or a run folder, to start from.",
            rich_help_panel=MODEL,
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
