"""From the options of `dsunet-run predict` and `dsunet predict` to a video job or image jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dsunet_runtime.commands.options import FILE_SUFFIXES, as_wrong_usage
from dsunet_runtime.message_text import printable
from dsunet_runtime.video.video_source import is_video

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

    def plan(self) -> VideoJob | Plan:
        """Return the job for a video, or the plan of the jobs for images.

        Raises:
            typer.BadParameter: The options do not fit each other.
            MissingExtraError: Cut-outs or backgrounds need a package that is not installed.
            RuntimeFault: The video or the camera is missing, or as in `jobs.plan`.
        """
        videos = [str(path) for path in self.images if is_video(path)]
        if self.camera is not None:
            videos.append(f"--camera {self.camera}")
        return self._video_job(videos[0]) if videos else self._image_plan()

    def _video_job(self, video: str) -> VideoJob:
        from dsunet_runtime.errors import OutputError
        from dsunet_runtime.video.job import VideoJob
        from dsunet_runtime.video.video_source import VideoSource, source_of

        if len(self.images) + (self.camera is not None) > 1:
            raise typer.BadParameter(
                f"{printable(video)} is a video: give one video, and no images"
            )
        if self.recursive:
            raise typer.BadParameter("--recursive applies to folders, and this is a video: omit it")
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

    def _image_plan(self) -> Plan:
        from dsunet_runtime.files import resolved
        from dsunet_runtime.prediction.jobs import plan

        if not self.images:
            raise typer.BadParameter("name images, a folder of images or a video, or use --camera")
        if self.smooth:
            raise typer.BadParameter("--smooth applies to videos, and these are images: omit it")
        to_standard_output = str(self.output) == STANDARD_STREAM
        for option, given in (("--json", self.as_json), ("--skip-existing", self.skip_existing)):
            if to_standard_output and given:
                raise typer.BadParameter(
                    f"{option} and --output - exclude each other: omit one of them"
                )
        destination = _destination(
            self.output, self.images, self._output_kinds(), recursive=self.recursive
        )
        image_plan = plan(
            self.images, destination, recursive=self.recursive, skip_existing=self.skip_existing
        )
        outputs = (output.path for job in image_plan.jobs for output in job.outputs)
        background = self.background
        if background is not None and resolved(Path(background)) in map(resolved, outputs):
            raise typer.BadParameter(
                f"a result would overwrite --background {background}: name another file or folder"
            )
        return image_plan

    def _output_kinds(self) -> list[OutputKind]:
        """Return the renderings that the options request, with the suffixes of their files."""
        from dsunet_runtime.errors import ImageError
        from dsunet_runtime.masks.backdrops import parse_backdrop
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
                kinds.append(OutputKind(Background(parse_backdrop(self.background)), ".jpg"))
        if self.overlay:
            kinds.append(OutputKind(Overlay(), ".jpg"))
        if self.cutout is not None or self.background is not None:
            check_installed()
        return kinds


def _destination(
    output: Path, images: Sequence[Path], kinds: Sequence[OutputKind], *, recursive: bool
) -> Destination:
    """Return the destination of the results; a folder always gets the mask, too.

    Raises typer.BadParameter if the results cannot be written there.
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
    """Return folder and file name for the results of a video, and the kinds of output."""
    if _is_folder(output):
        return output, None, tuple(_with_mask(kinds))
    kind = _only_kind(output, kinds)
    if str(output) == STANDARD_STREAM:
        raise typer.BadParameter(
            "a video cannot be written to standard output: name a file or a folder"
        )
    return output.parent, output.name, (kind,)


def _is_folder(output: Path) -> bool:
    """Whether the output is a folder, not a file or standard output."""
    if str(output) == STANDARD_STREAM:
        return False
    return output.is_dir() or output.suffix.lower() not in FILE_SUFFIXES


def _with_mask(kinds: Sequence[OutputKind]) -> list[OutputKind]:
    """Add the mask, unless it is among the kinds, possibly binary."""
    from dsunet_runtime.masks.renderings import Mask
    from dsunet_runtime.prediction.jobs import OutputKind

    has_mask = any(kind.is_mask for kind in kinds)
    return [*kinds] if has_mask else [OutputKind(Mask(), ".png"), *kinds]


def _only_kind(output: Path, kinds: Sequence[OutputKind]) -> OutputKind:
    """Return the only kind of output: the one requested, or the mask by default."""
    if len(kinds) > 1:
        names = " and ".join(f"--{kind.rendering.name}" for kind in kinds)
        raise typer.BadParameter(
            f"--output {output} is one file, and {names} need one each: name a folder"
        )
    return kinds[0] if kinds else _with_mask(())[0]


def _check_suffix(output: Path, kind: OutputKind) -> None:
    """Reject a file whose format does not fit the rendering or the format requested."""
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
