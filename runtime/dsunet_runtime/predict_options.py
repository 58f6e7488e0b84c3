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
    integer,
    names_folder,
    place_to_write,
    with_optional_value,
)
from dsunet_runtime.message_text import printable, quote
from dsunet_runtime.video.sources import MOST_CAMERAS, MOST_SMOOTH, Url, is_url, is_video

if TYPE_CHECKING:
    from dsunet_runtime.jobs import Destination, OutputKind, Plan
    from dsunet_runtime.video.job import VideoJob

_STANDARD_STREAM = "-"
_OTSU = "otsu"
_CUTOUT_FORMATS = ("png", "webp")
_NUMBER = re.compile(r"[-+]?[0-9][0-9.]*")


def _image(text: str | Path) -> Path:
    """Keep a file named `-`, as in `./-`, apart from standard input, and URLs as they are."""
    if is_url(str(text)):
        return Url(str(text))
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


def make_work(
    images: Sequence[Path] | None,
    output: Path,
    *,
    camera: int | None,
    smooth: int,
    binary: str | None,
    cutout: str | None,
    background: str | None,
    overlay: bool,
    recursive: bool,
    skip_existing: bool,
    as_json: bool,
) -> VideoJob | Plan:
    """Return the video, or the jobs for images, that the options describe.

    Raises typer.BadParameter if options do not fit each other, and RuntimeFault if the video or the
    camera is missing, or like `jobs.plan`.
    """
    video = _make_video_job(
        images or (),
        output,
        camera=camera,
        smooth=smooth,
        binary=binary,
        cutout=cutout,
        background=background,
        overlay=overlay,
        recursive=recursive,
        skip_existing=skip_existing,
    )
    return video or _make_plan(
        images or (),
        output,
        binary=binary,
        cutout=cutout,
        background=background,
        overlay=overlay,
        recursive=recursive,
        skip_existing=skip_existing,
        as_json=as_json,
    )


def _make_video_job(
    images: Sequence[Path],
    output: Path,
    *,
    camera: int | None,
    smooth: int,
    binary: str | None,
    cutout: str | None,
    background: str | None,
    overlay: bool,
    recursive: bool,
    skip_existing: bool,
) -> VideoJob | None:
    """Return the video that the options describe; None if they describe images.

    Raises typer.BadParameter if options do not fit each other, and RuntimeFault if the video or the
    camera is missing.
    """
    from dsunet_runtime.errors import OutputError
    from dsunet_runtime.video.job import VideoJob
    from dsunet_runtime.video.sources import VideoSource, source_of

    videos = [str(path) for path in images if is_video(path)]
    if camera is not None:
        videos.append(f"--camera {camera}")
    if not videos:
        if not images:
            raise typer.BadParameter("name images, a folder of images or a video, or use --camera")
        if smooth:
            raise typer.BadParameter(
                "--smooth applies to videos, and these are images: leave it out"
            )
        return None
    if len(images) + (camera is not None) > 1:
        raise typer.BadParameter(
            f"{printable(videos[0])} is a video, and a video is computed alone: name one video and "
            f"no images"
        )
    if recursive:
        raise typer.BadParameter(
            "--recursive applies to folders, and this is a video: leave it out"
        )
    kinds = _output_kinds(binary, cutout, background, overlay=overlay)
    source = source_of(images[0]) if camera is None else VideoSource.of_camera(camera)
    with as_wrong_usage(OutputError):
        job = VideoJob(source, *_video_destination(output, kinds), smooth, skip_existing)
        job.check()
    return job


def _make_plan(
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
    from dsunet_runtime.video.encodings import SUFFIXES

    if _is_folder(output):
        return Destination(output, tuple(_with_mask(kinds)))
    if len(images) > 1 or images[0].is_dir() or is_pattern(images[0]) or recursive:
        raise typer.BadParameter(
            f"--output {output} is one file, and each image needs one of its own: name a folder"
        )
    if output.suffix.lower() in SUFFIXES:
        raise typer.BadParameter(
            f"--output {output} is a video, and {printable(str(images[0]))} is read as an image: "
            f"name an image file, or a folder"
        )
    kind = _only_kind(output, kinds)
    if str(output) == _STANDARD_STREAM:
        return Destination(None, (kind,))
    _check_suffix(output, kind)
    return Destination(
        output.parent, (OutputKind(kind.rendering, output.suffix.lower()),), output.name
    )


def _video_destination(
    output: Path, kinds: Sequence[OutputKind]
) -> tuple[Path, str | None, tuple[OutputKind, ...]]:
    """Return the folder for the results of a video, the name of a file, and what is written."""
    if _is_folder(output):
        return output, None, tuple(_with_mask(kinds))
    kind = _only_kind(output, kinds)
    if str(output) == _STANDARD_STREAM:
        raise typer.BadParameter("a video does not go to standard output: name a file or a folder")
    return output.parent, output.name, (kind,)


def _is_folder(output: Path) -> bool:
    """Whether results go into a folder, rather than to a file or to standard output."""
    if str(output) == _STANDARD_STREAM:
        return False
    return output.is_dir() or output.suffix.lower() not in FILE_SUFFIXES


def _with_mask(kinds: Sequence[OutputKind]) -> list[OutputKind]:
    """Add the mask, unless a form of it is among the kinds."""
    from dsunet_runtime.jobs import OutputKind
    from dsunet_runtime.renderings import Mask

    is_there = any(kind.is_mask for kind in kinds)
    return [*kinds] if is_there else [OutputKind(Mask(), ".png"), *kinds]


def _only_kind(output: Path, kinds: Sequence[OutputKind]) -> OutputKind:
    """Return the kind that goes to a file: the one that was named, or else the mask."""
    if len(kinds) > 1:
        names = " and ".join(f"--{kind.rendering.name}" for kind in kinds)
        raise typer.BadParameter(
            f"--output {output} is one file, and {names} need one each: name a folder"
        )
    return kinds[0] if kinds else _with_mask(())[0]


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
