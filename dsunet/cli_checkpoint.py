"""What the commands that read a checkpoint have in common."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import typer

from dsunet_runtime.command import complain

WeightsKey = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="KEY",
        help="Which of several networks in a checkpoint file, such as model or ema (default: the "
        "only one, or the only average over the training).",
    ),
]

Sam2File = Annotated[
    Path | None,
    typer.Option("--sam2", metavar="FILE", help="SAM2's file, if a checkpoint lacks the encoders."),
]
Dinov2File = Annotated[
    str | None,
    typer.Option("--dinov2", metavar="FILE", help="DINOv2's file, or timm:NAME, in the same case."),
]

notice = functools.partial(complain, "dsunet")
"""Prints what was chosen in a checkpoint, or is odd about it."""
