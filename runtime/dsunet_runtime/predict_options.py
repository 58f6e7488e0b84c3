"""Arguments and options shared by `dsunet-run predict` and `dsunet predict`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from dsunet_runtime.command_options import FILE_SUFFIXES, OUTPUT, names_folder, place_to_write
from dsunet_runtime.message_text import printable


def _masks_to_write(text: str | Path) -> Path:
    path = Path(text)
    place_to_write(path)
    if names_folder(text) and path.suffix.lower() in FILE_SUFFIXES and not path.is_dir():
        raise typer.BadParameter(
            f"{printable(text)} has the suffix of a file and the slash of a folder: leave one out"
        )
    return path


Images = Annotated[
    list[Path],
    typer.Argument(
        metavar="IMAGE_OR_FOLDER",
        help="Image files, or folders of images (subfolders are not searched).",
        show_default=False,
    ),
]
Masks = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        parser=_masks_to_write,
        metavar="DIR",
        help="Folder for the masks, one NAME.png per image; created if missing.  For a single "
        "image, also the name of a .png file.",
        rich_help_panel=OUTPUT,
    ),
]
Overlay = Annotated[
    bool,
    typer.Option(
        "--overlay",
        help="Also write NAME_overlay.jpg: the image with its mask drawn over it.",
        rich_help_panel=OUTPUT,
    ),
]


def mask_destination(output: Path, images: Sequence[Path]) -> tuple[Path, str | None]:
    """Split `predict -o` into a folder and, for a single image, the file name of its mask.

    Raises typer.BadParameter if the masks of these images cannot be written there.
    """
    if output.is_dir() or output.suffix.lower() not in FILE_SUFFIXES:
        return output, None
    if len(images) > 1 or images[0].is_dir():
        raise typer.BadParameter(
            f"-o {output} is one file, and each image needs a mask of its own: name a folder"
        )
    if output.suffix.lower() != ".png":
        raise typer.BadParameter(
            f"-o {output}: masks are PNG files: name {output.with_suffix('.png')}, or a folder"
        )
    return output.parent, output.name
