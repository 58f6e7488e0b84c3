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
    output_path,
    with_optional_value,
)
from dsunet_runtime.commands.predict_arguments import OTSU, STANDARD_STREAM
from dsunet_runtime.message_text import printable, quote
from dsunet_runtime.video.video_source import MOST_CAMERAS, MOST_SMOOTH, Url, is_url

_CUTOUT_FORMATS = ("png", "webp")
_NUMBER = re.compile(r"[-+]?[0-9][0-9.]*")


def _image(text: str | Path) -> Path:
    """Convert an argument to a path: `./-` is a file, `-` standard input; URLs are not changed."""
    if is_url(str(text)):
        return Url(str(text))
    path = Path(text)
    return path.absolute() if path.name == STANDARD_STREAM != str(text) else path


def _results_path(text: str | Path) -> Path:
    path = Path(text)
    if str(text) == STANDARD_STREAM:
        return path
    output_path(path)
    if names_folder(text) and path.suffix.lower() in FILE_SUFFIXES and not path.is_dir():
        raise typer.BadParameter(
            f"{printable(text)} has the suffix of a file and the slash of a folder: omit one"
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


ImagesArgument = Annotated[
    list[Path] | None,
    typer.Argument(
        parser=_image,
        metavar="IMAGE_OR_FOLDER",
        help="Image files, folders of images, patterns such as 'photos/**/*.jpg', or - for "
        "standard input.  Or one video: a file, or the URL of a stream.",
        show_default=False,
    ),
]
OutputOption = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        parser=_results_path,
        metavar="DIR|FILE|-",
        help="Folder for the results, created if missing: the mask NAME.png of each image, and "
        "the files of the options below.  With one image and one result, also a file (.png; "
        "cut-outs also .webp; other images also .webp or .jpg), or - for standard output.  With a "
        "video and one result, also a video (.mp4, .mkv, .mov; with alpha .webm, .mov); in a "
        "folder, the masks of its frames are NAME_000001.png and so on.",
        rich_help_panel=OUTPUT,
    ),
]
BinaryOption = Annotated[
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
CutoutOption = Annotated[
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
BackgroundOption = Annotated[
    str | None,
    typer.Option(
        "--background",
        metavar="COLOUR|IMAGE|blur",
        help="Write NAME_background.jpg: the object over a colour (a name, or '#rrggbb'), over an "
        "image, which is cropped to fill, or over its own blurred background.",
        rich_help_panel=OUTPUT,
    ),
]
OverlayOption = Annotated[
    bool,
    typer.Option(
        "--overlay",
        help="Write NAME_overlay.jpg: the image with its mask drawn over it.",
        rich_help_panel=OUTPUT,
    ),
]
RecursiveOption = Annotated[
    bool,
    typer.Option(
        "--recursive",
        help="Include images in subfolders; their results go to subfolders of the same names.",
        rich_help_panel="Input",
    ),
]
SkipExistingOption = Annotated[
    bool,
    typer.Option(
        "--skip-existing",
        help="Skip images, and leading frames of a video, whose result files all exist.",
        rich_help_panel=OUTPUT,
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print one line of JSON for each image or frame: its files, time, size and mask "
        "statistics.",
        rich_help_panel=OUTPUT,
    ),
]
CameraOption = Annotated[
    int | None,
    integer(
        "--camera",
        low=0,
        high=MOST_CAMERAS,
        help="Read the camera /dev/videoN instead of images, until Ctrl-C.",
        rich_help_panel="Input",
    ),
]
SmoothOption = Annotated[
    int,
    integer(
        "--smooth",
        metavar="K",
        low=0,
        high=MOST_SMOOTH,
        help="Reduce flicker in videos: average each mask with those of K frames before and K "
        "after it, compensated for motion, where the frames agree.",
        rich_help_panel=OUTPUT,
    ),
]
