"""Arguments and options shared by `dsunet-run predict` and `dsunet predict`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsunet_runtime.command_options import (
    FILE_SUFFIXES,
    OUTPUT,
    as_wrong_usage,
    names_folder,
    place_to_write,
    with_optional_value,
)
from dsunet_runtime.message_text import printable, quote

if TYPE_CHECKING:
    from dsunet_runtime.jobs import Destination, OutputKind, Plan

_STANDARD_STREAM = "-"
_OTSU = "otsu"
_CUTOUT_FORMATS = ("png", "webp")
_NUMBER = re.compile(r"[-+]?[0-9][0-9.]*")


def _image(text: str | Path) -> Path:
    """Keep a file named `-`, as in `./-`, apart from standard input."""
    path = Path(text)
    return path.absolute() if path.name == _STANDARD_STREAM != str(text) else path


def _place_for_results(text: str | Path) -> Path:
    path = Path(text)
    if str(text) == _STANDARD_STREAM:
        return path
    place_to_write(path)
    if names_folder(text) and path.suffix.lower() in FILE_SUFFIXES and not path.is_dir():
        raise typer.BadParameter(
            f"{printable(text)} has the suffix of a file and the slash of a folder: leave one out"
        )
    return path


def _threshold(text: str) -> str:
    is_level = text.isascii() and text.isdecimal() and len(text) <= 3 and 1 <= int(text) <= 255
    if text != _OTSU and not is_level:
        raise typer.BadParameter(f"{quote(text)} is neither a level from 1 to 255 nor {_OTSU}")
    return text


def _cutout_format(text: str) -> str:
    if text not in _CUTOUT_FORMATS:
        raise typer.BadParameter(f"{quote(text)} is neither png nor webp")
    return text


Images = Annotated[
    list[Path],
    typer.Argument(
        parser=_image,
        metavar="IMAGE_OR_FOLDER",
        help="Image files, folders of images, patterns such as 'photos/**/*.jpg', or - for "
        "standard input.",
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
        "(.png; cut-outs also .webp; other images also .webp or .jpg), or - for standard output.",
        rich_help_panel=OUTPUT,
    ),
]
Binary = Annotated[
    str | None,
    with_optional_value(
        "--binary",
        missing="128",
        takes=lambda text: text == _OTSU or bool(_NUMBER.fullmatch(text)),
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
        help="Write NAME_cutout.png or .webp: the object with the mask as alpha, in colours "
        "without those of the old background.  [without a value: png]",
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
        help="Skip images all of whose files exist already.",
        rich_help_panel=OUTPUT,
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print a line of JSON for each image: its files, time, size and mask statistics.",
        rich_help_panel=OUTPUT,
    ),
]


def make_plan(
    images: Sequence[Path],
    output: Path,
    *,
    binary: str | None,
    cutout: str | None,
    background: str | None,
    overlay: bool,
    recursive: bool,
    skip_existing: bool,
    as_json: bool,
) -> Plan:
    """Return the jobs that the options describe.

    Raises typer.BadParameter if options do not fit each other, and RuntimeFault like `jobs.plan`.
    """
    from dsunet_runtime.files import resolved
    from dsunet_runtime.jobs import plan

    to_standard_output = str(output) == _STANDARD_STREAM
    for option, is_given in (("--json", as_json), ("--skip-existing", skip_existing)):
        if to_standard_output and is_given:
            raise typer.BadParameter(
                f"{option} and --output - exclude each other, since the result goes to standard "
                f"output: leave one out"
            )
    kinds = _output_kinds(binary, cutout, background, overlay=overlay)
    where = _destination(output, images, kinds, recursive=recursive)
    found = plan(images, where, recursive=recursive, skip_existing=skip_existing)
    outputs = (output.path for job in found.jobs for output in job.outputs)
    if background is not None and resolved(Path(background)) in map(resolved, outputs):
        raise typer.BadParameter(
            f"a result would overwrite --background {background}: name another file or folder"
        )
    return found


def _output_kinds(
    binary: str | None, cutout: str | None, background: str | None, *, overlay: bool
) -> list[OutputKind]:
    """Return what the options name to be written beside, or instead of, the mask as it is.

    Raises typer.BadParameter if the background cannot be used, and MissingExtraError if cut-outs or
    backgrounds need a package that is not installed.
    """
    from dsunet_runtime.backgrounds import backdrop
    from dsunet_runtime.errors import ImageError
    from dsunet_runtime.foreground import check_installed
    from dsunet_runtime.jobs import OutputKind
    from dsunet_runtime.renderings import Background, Binary, Cutout, Overlay

    kinds = []
    if binary is not None:
        kinds.append(OutputKind(Binary(None if binary == _OTSU else int(binary)), ".png"))
    if cutout is not None:
        kinds.append(OutputKind(Cutout(), f".{cutout}"))
    if background is not None:
        with as_wrong_usage(ImageError):
            kinds.append(OutputKind(Background(backdrop(background)), ".jpg"))
    if overlay:
        kinds.append(OutputKind(Overlay(), ".jpg"))
    if cutout is not None or background is not None:
        check_installed()
    return kinds


def _destination(
    output: Path, images: Sequence[Path], kinds: Sequence[OutputKind], *, recursive: bool
) -> Destination:
    """Return where results go, and which: into a folder always the mask, too.

    Raises typer.BadParameter if they cannot be written there.
    """
    from dsunet_runtime.jobs import Destination, OutputKind
    from dsunet_runtime.patterns import is_pattern
    from dsunet_runtime.renderings import Mask

    mask = OutputKind(Mask(), ".png")
    to_standard_output = str(output) == _STANDARD_STREAM
    is_folder = output.is_dir() or output.suffix.lower() not in FILE_SUFFIXES
    if is_folder and not to_standard_output:
        all_kinds = [*kinds] if any(kind.is_mask for kind in kinds) else [mask, *kinds]
        return Destination(output, tuple(all_kinds))
    if len(images) > 1 or images[0].is_dir() or is_pattern(images[0]) or recursive:
        raise typer.BadParameter(
            f"--output {output} is one file, and each image needs one of its own: name a folder"
        )
    if len(kinds) > 1:
        names = " and ".join(f"--{kind.rendering.name}" for kind in kinds)
        raise typer.BadParameter(
            f"--output {output} is one file, and {names} need one each: name a folder"
        )
    (kind,) = kinds or [mask]
    if to_standard_output:
        return Destination(None, (kind,))
    _check_suffix(output, kind)
    return Destination(
        output.parent, (OutputKind(kind.rendering, output.suffix.lower()),), output.name
    )


def _check_suffix(output: Path, kind: OutputKind) -> None:
    """Refuse a file whose format does not fit the rendering, or is not the one that was named."""
    match kind.rendering.channels:
        case 1:
            plural, allowed = "masks", [".png"]
        case 4:
            plural, allowed = "cut-outs", [".webp"] if kind.suffix == ".webp" else [".png", ".webp"]
        case _:
            plural, allowed = "these images", [".jpg", ".jpeg", ".png", ".webp"]
    if output.suffix.lower() not in allowed:
        formats = " or ".join(suffix[1:].upper() for suffix in allowed if suffix != ".jpeg")
        raise typer.BadParameter(
            f"--output {output}: {plural} are {formats} files: name "
            f"{output.with_suffix(allowed[0])}, or a folder"
        )
