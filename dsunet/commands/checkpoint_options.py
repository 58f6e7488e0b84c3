"""Options of the commands that read or write a checkpoint."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import typer

from dsunet.commands.help_panels import MODEL
from dsunet.network.config import MAX_IMAGE_SIZE
from dsunet_runtime.commands.app import complain
from dsunet_runtime.commands.options import file_to_write, integer
from dsunet_runtime.message_text import printable

CheckpointToRead = Annotated[
    Path,
    typer.Argument(
        metavar="CHECKPOINT", help="Checkpoint file, or a run folder.", show_default=False
    ),
]


def _checkpoint_to_write(text: str | Path) -> Path:
    path = file_to_write(text)
    if path.suffix.lower() != ".safetensors":
        raise typer.BadParameter(
            f"{printable(path)}: the name of a checkpoint to write ends in .safetensors: give "
            f"{printable(path.with_suffix('.safetensors'))}"
        )
    return path


CheckpointToWrite = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="OUT.safetensors",
        parser=_checkpoint_to_write,
        help="Checkpoint file to write.",
    ),
]

WeightsKey = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="KEY",
        help="Network to read from a checkpoint file that holds several, such as model or ema.  "
        "[default: the only one, or the only averaged one (EMA, SWA)]",
        rich_help_panel=MODEL,
    ),
]

Sam2File = Annotated[
    Path | None,
    typer.Option(
        "--sam2",
        metavar="FILE",
        help="SAM2 or SAM2.1 weights, for a checkpoint without the encoders.",
        rich_help_panel=MODEL,
    ),
]
Dinov2File = Annotated[
    str | None,
    typer.Option(
        "--dinov2",
        metavar="FILE",
        help="DINOv2 weights, a file or timm:NAME, for a checkpoint without the encoders.",
        rich_help_panel=MODEL,
    ),
]

HieraSize = Annotated[
    int | None,
    integer(
        "--hiera-size",
        low=1,
        high=MAX_IMAGE_SIZE,
        metavar="PIXELS",
        help="Side of Hiera's input, a multiple of 32 from 128.  [default: that of the network]",
        rich_help_panel=MODEL,
    ),
]
DinoSize = Annotated[
    int | None,
    integer(
        "--dino-size",
        low=1,
        high=MAX_IMAGE_SIZE,
        metavar="PIXELS",
        help="Side of DINOv2's input, a multiple of 14; its position embeddings are resampled.  "
        "[default: that of the network]",
        rich_help_panel=MODEL,
    ),
]

notice = functools.partial(complain, "dsunet")
"""Print a notice about a checkpoint, such as which of its networks is used."""
