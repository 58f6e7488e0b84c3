"""What `dsunet-run predict` and `dsunet predict` take alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from dsunet_runtime.command_options import FILE_SUFFIXES, place_to_write

Images = Annotated[
    list[Path],
    typer.Argument(
        metavar="IMAGE_OR_FOLDER",
        help="Image files, or folders of them (without their subfolders).",
        show_default=False,
    ),
]
Masks = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        callback=place_to_write,
        help="Folder for the masks, NAME.png, made if needed; of one image also a file.png.",
    ),
]
Overlay = Annotated[
    bool, typer.Option("--overlay", help="Also draw each mask over its image: NAME_overlay.jpg.")
]


def place_of_masks(output: Path, images: Sequence[Path]) -> tuple[Path, str | None]:
    """Where `predict -o` sends the masks of images: a folder, and for one image perhaps a name."""
    if output.is_dir() or output.suffix.lower() not in FILE_SUFFIXES:
        return output, None
    if len(images) > 1 or images[0].is_dir():
        raise typer.BadParameter(
            f"-o {output} names one file, and there is a mask for each image: name a folder"
        )
    if output.suffix.lower() != ".png":
        raise typer.BadParameter(
            f"-o {output}: a mask is a PNG file: name {output.with_suffix('.png')}, or a folder"
        )
    return output.parent, output.name
