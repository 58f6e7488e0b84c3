"""Arguments and options that `dsunet-run predict` and `dsunet predict` share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from dsunet_runtime.commands.options import (
    FILE_SUFFIXES,
    OUTPUT,
    integer,
    names_folder,
    place_to_write,
    with_optional_value,
)
from dsunet_runtime.commands.predict_work import OTSU, STANDARD_STREAM
from dsunet_runtime.message_text import printable, quote
from dsunet_runtime.video.sources import MOST_CAMERAS, MOST_SMOOTH, Url, is_url

_CUTOUT_FORMATS = ("png", "webp")
_NUMBER = re.compile(r"[-+]?[0-9][0-9.]*")


def _image(text: str | Path) -> Path:
    """Keep a file named `-`, as in `./-`, apart from standard input, and URLs as they are."""
    if is_url(str(text)):
        return Url(str(text))
    path = Path(text)
    return path.absolute() if path.name == STANDARD_STREAM != str(text) else path


def _place_for_results(text: str | Path) -> Path:
    path = Path(text)
    if str(text) == STANDARD_STREAM:
        return path
    place_to_write(path)
    if names_folder(text) and path.suffix.lower() in FILE_SUFFIXES and not path.is_dir():
        raise typer.BadParameter(
            f"{printable(text)} has the suffix of a file and the slash of a folder: leave one out"
        )
    return path


def _threshold(text: str) -> str:
    is_level = text.isascii() and text.isdecimal() and len(text) <= 3 and 1 <= int(text) <= 255
    if text != OTSU and not is_level:
        raise typer.BadParameter(f"{quote(text)} is neither a level from 1 to 255 nor {OTSU}")
    return text


def _cutout_format(text: str) -> str:
    if text not in _CUTOUT_FORMATS:
        raise typer.BadParameter(f"{quote(text)} is neither png nor webp")
    return text


Images = Annotated[
    list[Path] | None,
    typer.Argument(
        parser=_image,
        metavar="IMAGE_OR_FOLDER",
        help="Image files, folders of images, patterns such as 'photos/**/*.jpg', or - for "
        "standard input.  Or one video: a file, or the URL of a stream.",
        show_default=False,
    ),
]
Results = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        parser=_place_for_results,
        metavar="DIR|FILE|-",
        help="Folder for the results, created if missing: the mask NAME.png of each image, and "
        "the files of the options below.  For a single image and a single result, also a file "
        "(.png; cut-outs also .webp; other images also .webp or .jpg), or - for standard output.  "
        "For a video and a single result, also a video (.mp4, .mkv, .mov; with alpha .webm, .mov); "
        "in a folder, the masks of its frames are NAME_000001.png and so on.",
        rich_help_panel=OUTPUT,
    ),
]
Binary = Annotated[
    str | None,
    with_optional_value(
        "--binary",
        missing="128",
        takes=lambda text: text == OTSU or bool(_NUMBER.fullmatch(text)),
        parser=_threshold,
        metavar="[THRESHOLD|otsu]",
        help="Write masks of 0 and 255 only: 255 where the mask is at or above a threshold, 1 to "
        "255, or Otsu's threshold of each mask.  [without a value: 128]",
        rich_help_panel=OUTPUT,
    ),
]
Cutout = Annotated[
    str | None,
    with_optional_value(
        "--cutout",
        missing=_CUTOUT_FORMATS[0],
        takes=lambda text: text in _CUTOUT_FORMATS,
        parser=_cutout_format,
        metavar="[png|webp]",
        help="Write NAME_cutout.png or .webp: the object with an alpha from the mask, in "
        "colours without those of the old background.  [without a value: png]",
        rich_help_panel=OUTPUT,
    ),
]
Background = Annotated[
    str | None,
    typer.Option(
        "--background",
        metavar="COLOUR|IMAGE|blur",
        help="Write NAME_background.jpg: the object over a colour (a name, or '#rrggbb'), over an "
        "image, which is cropped to fill, or over its own blurred background.",
        rich_help_panel=OUTPUT,
    ),
]
Overlay = Annotated[
    bool,
    typer.Option(
        "--overlay",
        help="Write NAME_overlay.jpg: the image with its mask drawn over it.",
        rich_help_panel=OUTPUT,
    ),
]
Recursive = Annotated[
    bool,
    typer.Option(
        "--recursive",
        help="Also use the images in subfolders; the results go into subfolders of the same names.",
        rich_help_panel="Input",
    ),
]
SkipExisting = Annotated[
    bool,
    typer.Option(
        "--skip-existing",
        help="Skip images all of whose files exist already, and the first frames of a video.",
        rich_help_panel=OUTPUT,
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print a line of JSON for each image or frame: its files, time, size and mask "
        "statistics.",
        rich_help_panel=OUTPUT,
    ),
]
Camera = Annotated[
    int | None,
    integer(
        "--camera",
        low=0,
        high=MOST_CAMERAS,
        help="Read the camera /dev/videoN instead of images, until Ctrl-C.",
        rich_help_panel="Input",
    ),
]
Smooth = Annotated[
    int,
    integer(
        "--smooth",
        metavar="K",
        low=0,
        high=MOST_SMOOTH,
        help="Against flicker in videos: blend each mask with those of K frames before and K "
        "after it, along motion and where the frames show the same.",
        rich_help_panel=OUTPUT,
    ),
]
