"""`predict` for a video, with its progress and messages."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dsunet_runtime.command import complain
from dsunet_runtime.errors import ImageError, OutputError
from dsunet_runtime.files import staged_file
from dsunet_runtime.image_folder import counted
from dsunet_runtime.jobs import results_folder
from dsunet_runtime.message_text import reason
from dsunet_runtime.prediction import Steps
from dsunet_runtime.renderings import Rendering
from dsunet_runtime.video.pipeline import Work, process
from dsunet_runtime.video.progress import VideoProgress
from dsunet_runtime.video.read_ahead import ReadAhead
from dsunet_runtime.video.reader import VideoReader
from dsunet_runtime.video.sources import TIMEOUT, VideoSource
from dsunet_runtime.video.writer import FrameFolder, Sink, VideoWriter

_WAITING = 4
"""Decoded frames that may wait to be computed."""


@dataclass(frozen=True, slots=True)
class VideoJob:
    """A video and where its masks go.

    Attributes:
        source: The video.
        output: A file whose suffix is a video's, or a folder for the frames as PNG files.
        is_folder: Whether `output` is a folder.
        renderings: What is written: one for a file.
        batch: Number of frames per call of the network.
        smooth: Number of frames before and after each one that its mask is blended with.
        skip_existing: Whether a folder's frames that exist are left as they are.
    """

    source: VideoSource
    output: Path
    is_folder: bool
    renderings: Sequence[Rendering]
    batch: int = 1
    smooth: int = 0
    skip_existing: bool = False


def run_video(program: str, steps: Steps, job: VideoJob) -> bool:
    """Compute a video, print messages prefixed with the program, and return whether it was whole.

    An interruption ends the output after the last written frame, and is then raised again.

    Raises:
        ImageError: The video cannot be opened, or not one frame of it can be decoded.
        BackendError: The computation fails.
        OutputError: The result cannot be written.
        MissingExtraError: PyAV is not installed.
    """
    with VideoReader(job.source) as reader:
        if reader.left_out:
            complain(program, f"{job.source.name}: {reader.left_out} left out")
        if job.is_folder:
            with results_folder(job.output):
                return _into_folder(program, steps, job, reader)
        return _into_file(program, steps, job, reader)


def _into_folder(program: str, steps: Steps, job: VideoJob, reader: VideoReader) -> bool:
    folder = FrameFolder(job.output, job.source.stem)
    names = [rendering.name for rendering in job.renderings]
    first = folder.first_missing(names) if job.skip_existing else 0
    if first:
        complain(program, f"{counted(first, 'frame')} in {job.output} left as found")
    run = _Run(program, reader)
    run.through(Work(steps, job.batch, job.smooth, job.renderings, folder, first))
    run.conclude(job.output)
    return run.is_whole


def _into_file(program: str, steps: Steps, job: VideoJob, reader: VideoReader) -> bool:
    (rendering,) = job.renderings
    run = _Run(program, reader)
    with _staged_writer(job.output, rendering.channels, reader) as writer:
        run.through(Work(steps, job.batch, job.smooth, job.renderings, writer))
        if not run.frames:
            run.conclude(job.output)
        writer.finish()
    for line in writer.notices:
        complain(program, f"{job.output}: {line}")
    run.conclude(job.output)
    return run.is_whole


@contextmanager
def _staged_writer(path: Path, channels: int, reader: VideoReader) -> Iterator[VideoWriter]:
    """Write a video that replaces `path` when the context exits without an error."""
    try:
        with (
            staged_file(path) as file,
            VideoWriter(
                path,
                file,
                channels=channels,
                time_base=reader.time_base,
                rate=reader.rate,
                audio=reader.audio,
            ) as writer,
        ):
            yield writer
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {reason(error)}") from error


class _Run:
    """One pass through a video.

    Attributes:
        frames: Number of frames written.
        is_whole: Whether all frames of the video could be decoded.
    """

    def __init__(self, program: str, reader: VideoReader) -> None:
        self.frames = 0
        self.is_whole = True
        self._program = program
        self._reader = reader
        self._interruption: BaseException | None = None
        self._start = time.perf_counter()

    def through(self, work: Work) -> None:
        """Compute and write all frames, or those until an interruption."""
        source = self._reader.source
        pictures = ReadAhead(
            self._reader.pictures(work.sink.listen),
            _WAITING + work.batch,
            drop=source.is_live,
            patience=2 * TIMEOUT if source.is_live else None,
            stalled=self._reader.give_up,
        )
        total = self._reader.expected_frames
        left = None if total is None else max(1, total - work.first)
        with VideoProgress(left, sys.stderr) as progress:
            try:
                for _ in process(pictures, work):
                    self.frames += 1
                    progress.advance()
            except (KeyboardInterrupt, SystemExit) as interruption:
                self._interruption = interruption
        if pictures.dropped:
            complain(
                self._program,
                f"{source.name}: {counted(pictures.dropped, 'frame')} came faster than they were "
                f"computed, and were left out",
            )

    def conclude(self, output: Path) -> None:
        """Print what was wrong and the summary; raise what interrupted the run.

        Raises ImageError if no frame could be decoded.
        """
        if self._interruption is not None:
            raise self._interrupted(output)
        if self._reader.damage is not None:
            self.is_whole = False
            complain(self._program, self._reader.damage)
        if not self._reader.frames:
            raise ImageError(f"{self._reader.source.name}: not one frame could be decoded")
        seconds = time.perf_counter() - self._start
        speed = f"{self.frames / seconds:.1f} frames/s"
        print(f"{counted(self.frames, 'frame')}, {seconds:.1f} s, {speed}")

    def _interrupted(self, output: Path) -> BaseException:
        kept = f"{counted(self.frames, 'frame')} are in {output}" if self.frames else "no frame yet"
        if isinstance(self._interruption, KeyboardInterrupt):
            return KeyboardInterrupt(kept)
        complain(self._program, f"terminated: {kept}")
        assert self._interruption is not None
        return self._interruption
