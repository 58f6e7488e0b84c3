"""A video and the destination of its results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dsunet_runtime.errors import OutputError
from dsunet_runtime.files import resolved
from dsunet_runtime.masks.renderings import Rendering
from dsunet_runtime.prediction.jobs import OutputKind
from dsunet_runtime.video.encodings import encoding_for
from dsunet_runtime.video.video_source import VideoSource


@dataclass(frozen=True, slots=True)
class VideoJob:
    """A video to compute.

    Attributes:
        source: The video.
        folder: The folder for the result.
        name: Name of the video file in it; None to write each frame to image files.
        kinds: Kinds of output; exactly one for a video file.
        smooth: Number of frames before and after each one whose masks are averaged with its own.
        skip_existing: Whether to keep existing results, and to continue after them.
    """

    source: VideoSource
    folder: Path
    name: str | None
    kinds: tuple[OutputKind, ...]
    smooth: int = 0
    skip_existing: bool = False

    def check(self) -> None:
        """Raise OutputError if the video file cannot be written as requested."""
        if self.file is None:
            return
        (kind,) = self.kinds
        encoding_for(self.file, kind.rendering.channels)
        if self.source.path is not None and resolved(self.source.path) == resolved(self.file):
            raise OutputError(f"{self.file}: would overwrite the video itself: use another name")

    @property
    def renderings(self) -> list[Rendering]:
        """The renderings of the kinds."""
        return [kind.rendering for kind in self.kinds]

    @property
    def file(self) -> Path | None:
        """The video file to write; None for image files."""
        return None if self.name is None else self.folder / self.name
