"""What `dsunet-run predict` and `dsunet predict` are to compute, from their options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dsunet_runtime.commands.options import FILE_SUFFIXES, as_wrong_usage
from dsunet_runtime.message_text import printable
from dsunet_runtime.video.sources import is_video

if TYPE_CHECKING:
    from dsunet_runtime.prediction.jobs import Destination, OutputKind, Plan
    from dsunet_runtime.video.job import VideoJob

STANDARD_STREAM = "-"
OTSU = "otsu"


@dataclass(frozen=True, kw_only=True)
class PredictArguments:
    """The values of the arguments and options in `predict_options`."""

    images: Sequence[Path]
    output: Path
    camera: int | None
    smooth: int
    binary: str | None
    cutout: str | None
    background: str | None
    overlay: bool
    recursive: bool
    skip_existing: bool
    as_json: bool

    def work(self) -> VideoJob | Plan:
        """Return the video, or the jobs for images, that they describe.

        Raises typer.BadParameter if they do not fit each other, MissingExtraError if cut-outs or
        backgrounds need a package that is not installed, and RuntimeFault if the video or the
        camera is missing, or like `jobs.plan`.
        """
        videos = [str(path) for path in self.images if is_video(path)]
        if self.camera is not None:
            videos.append(f"--camera {self.camera}")
        return self._video_job(videos[0]) if videos else self._plan()

    def _video_job(self, video: str) -> VideoJob:
        from dsunet_runtime.errors import OutputError
        from dsunet_runtime.video.job import VideoJob
        from dsunet_runtime.video.sources import VideoSource, source_of

        if len(self.images) + (self.camera is not None) > 1:
            raise typer.BadParameter(
                f"{printable(video)} is a video, and a video is computed alone: name one video and "
                f"no images"
            )
        if self.recursive:
            raise typer.BadParameter(
                "--recursive applies to folders, and this is a video: leave it out"
            )
        kinds = self._output_kinds()
        if self.camera is None:
            source = source_of(self.images[0])
        else:
            source = VideoSource.of_camera(self.camera)
        with as_wrong_usage(OutputError):
            where = _video_destination(self.output, kinds)
            job = VideoJob(source, *where, self.smooth, self.skip_existing)
            job.check()
        return job

    def _plan(self) -> Plan:
        from dsunet_runtime.files import resolved
        from dsunet_runtime.prediction.jobs import plan

        if not self.images:
            raise typer.BadParameter("name images, a folder of images or a video, or use --camera")
        if self.smooth:
            raise typer.BadParameter(
                "--smooth applies to videos, and these are images: leave it out"
            )
        to_standard_output = str(self.output) == STANDARD_STREAM
        for option, given in (("--json", self.as_json), ("--skip-existing", self.skip_existing)):
            if to_standard_output and given:
                raise typer.BadParameter(
                    f"{option} and --output - exclude each other, since the result goes to "
                    f"standard output: leave one out"
                )
        where = _destination(
            self.output, self.images, self._output_kinds(), recursive=self.recursive
        )
        found = plan(self.images, where, recursive=self.recursive, skip_existing=self.skip_existing)
        outputs = (output.path for job in found.jobs for output in job.outputs)
        background = self.background
        if background is not None and resolved(Path(background)) in map(resolved, outputs):
            raise typer.BadParameter(
                f"a result would overwrite --background {background}: name another file or folder"
            )
        return found

    def _output_kinds(self) -> list[OutputKind]:
        """Return what the options name to be written beside, or instead of, the mask as it is."""
        from dsunet_runtime.errors import ImageError
        from dsunet_runtime.masks.backgrounds import backdrop
        from dsunet_runtime.masks.foreground import check_installed
        from dsunet_runtime.masks.renderings import Background, Binary, Cutout, Overlay
        from dsunet_runtime.prediction.jobs import OutputKind

        kinds = []
        if self.binary is not None:
            threshold = None if self.binary == OTSU else int(self.binary)
            kinds.append(OutputKind(Binary(threshold), ".png"))
        if self.cutout is not None:
            kinds.append(OutputKind(Cutout(), f".{self.cutout}"))
        if self.background is not None:
            with as_wrong_usage(ImageError):
                kinds.append(OutputKind(Background(backdrop(self.background)), ".jpg"))
        if self.overlay:
            kinds.append(OutputKind(Overlay(), ".jpg"))
        if self.cutout is not None or self.background is not None:
            check_installed()
        return kinds


def _destination(
    output: Path, images: Sequence[Path], kinds: Sequence[OutputKind], *, recursive: bool
) -> Destination:
    """Return where results go, and which: into a folder always the mask, too.

    Raises typer.BadParameter if they cannot be written there.
    """
    from dsunet_runtime.images.patterns import is_pattern
    from dsunet_runtime.prediction.jobs import Destination, OutputKind
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
    if str(output) == STANDARD_STREAM:
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
    if str(output) == STANDARD_STREAM:
        raise typer.BadParameter("a video does not go to standard output: name a file or a folder")
    return output.parent, output.name, (kind,)


def _is_folder(output: Path) -> bool:
    """Whether results go into a folder, rather than to a file or to standard output."""
    if str(output) == STANDARD_STREAM:
        return False
    return output.is_dir() or output.suffix.lower() not in FILE_SUFFIXES


def _with_mask(kinds: Sequence[OutputKind]) -> list[OutputKind]:
    """Add the mask, unless a form of it is among the kinds."""
    from dsunet_runtime.masks.renderings import Mask
    from dsunet_runtime.prediction.jobs import OutputKind

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
