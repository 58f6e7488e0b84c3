"""A video on the command line: progress, messages and a summary."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dsunet_runtime.commands.app import complain
from dsunet_runtime.errors import ImageError, OutputError
from dsunet_runtime.files import staged_file
from dsunet_runtime.masks.mask_from_logits import MASK_THRESHOLD
from dsunet_runtime.message_text import counted, reason
from dsunet_runtime.prediction.jobs import results_folder
from dsunet_runtime.prediction.json_lines import statistics_values
from dsunet_runtime.prediction.predict_jobs import Steps
from dsunet_runtime.progress import VideoProgress
from dsunet_runtime.video.job import VideoJob
from dsunet_runtime.video.pipeline import VideoPipeline, WrittenFrame
from dsunet_runtime.video.read_ahead import ReadAhead
from dsunet_runtime.video.reader import VideoReader
from dsunet_runtime.video.video_source import TIMEOUT
from dsunet_runtime.video.writer import FrameFolder, FrameSink, VideoWriter

_DIGITS = 6
_WAITING = 4
"""Number of decoded frames that may wait, besides a batch."""


def run_video(
    program: str, steps: Steps, job: VideoJob, batch: int, *, as_json: bool = False
) -> bool:
    """Compute a video, and return whether all of its frames could be decoded.

    Messages are printed, prefixed with the name of the command.  An interruption completes the
    result after the last written frame, and is then raised again.

    Args:
        program: Name of the command.
        steps: The segmenter, or another object with its three steps.
        job: The video.
        batch: Number of frames per call of the network.
        as_json: Whether to print a line of JSON for each frame on standard output.

    Raises:
        ImageError: The video cannot be opened, or none of its frames can be decoded.
        BackendError: The computation fails.
        OutputError: The result cannot be written.
        MissingExtraError: PyAV is not installed.
    """
    if job.skip_existing and job.file is not None and job.file.is_file():
        complain(program, f"{job.file} exists already: skipped")
        return True
    with results_folder(job.folder), VideoReader(job.source) as reader:
        if reader.left_out:
            complain(program, f"{job.source.name}: {reader.left_out} left out")
        run = _VideoRun(program, reader, as_json=as_json)
        if job.file is None:
            run.into_folder(steps, job, batch)
        else:
            run.into_file(steps, job, job.file, batch)
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


class _VideoRun:
    """One pass through a video.

    Attributes:
        frames: Number of frames written.
        is_whole: Whether all frames of the video could be decoded.
    """

    def __init__(self, program: str, reader: VideoReader, *, as_json: bool) -> None:
        self.frames = 0
        self.is_whole = True
        self._program = program
        self._reader = reader
        self._as_json = as_json
        self._highest = 0
        self._interruption: BaseException | None = None
        self._start = time.perf_counter()

    def into_folder(self, steps: Steps, job: VideoJob, batch: int) -> None:
        """Write each frame to files of its own."""
        folder = FrameFolder(job.folder, job.source.stem, job.kinds)
        first = folder.first_missing() if job.skip_existing else 0
        if first:
            self._say(f"{job.folder}: {counted(first, 'frame')} exist already: skipped")
        self._process(VideoPipeline(steps, batch, job.smooth, job.renderings, folder, first))
        self._conclude(job.folder)

    def into_file(self, steps: Steps, job: VideoJob, path: Path, batch: int) -> None:
        """Write a video file; it appears under its name when it is complete."""
        (kind,) = job.kinds
        with _staged_writer(path, kind.rendering.channels, self._reader) as writer:
            self._process(VideoPipeline(steps, batch, job.smooth, job.renderings, writer))
            if not self.frames:
                self._conclude(path)
            writer.finish()
        for line in writer.notices:
            self._say(f"{path}: {line}")
        self._conclude(path)

    def _process(self, pipeline: VideoPipeline) -> None:
        """Compute and write the frames until the end or an interruption."""
        source = self._reader.source
        frames = ReadAhead(
            self._reader.decode(pipeline.sink.listen),
            _WAITING + pipeline.batch,
            drop=source.is_live,
            patience=2 * TIMEOUT if source.is_live else None,
            stalled=self._reader.give_up,
        )
        total = self._reader.expected_frames
        left = None if total is None else max(1, total - pipeline.first)
        with VideoProgress(left, sys.stderr) as progress:
            try:
                for written in pipeline.run(frames):
                    self._count(written, pipeline.sink)
                    progress.advance()
            except (KeyboardInterrupt, SystemExit) as interruption:
                self._interruption = interruption
        self.frames = pipeline.sink.frames  # also one in progress at an interruption
        if frames.dropped:
            self._say(
                f"{source.name}: {counted(frames.dropped, 'frame')} arrived faster than they "
                f"were computed: left out"
            )

    def _count(self, written: WrittenFrame, sink: FrameSink) -> None:
        self._highest = max(self._highest, written.mask.maximum)
        if self._as_json:
            outputs = [str(path) for path in sink.outputs(written.info.index)]
            values = {
                "video": self._reader.source.name,
                "frame": written.info.index + 1,
                "time": round(float(written.info.pts * self._reader.time_base), _DIGITS),
                "outputs": outputs,
                **statistics_values(written.mask),
            }
            print(json.dumps(values), flush=True)

    def _conclude(self, output: Path) -> None:
        """Print notices and the summary.

        Raises the interruption, if there was one, and ImageError if no frame could be decoded.
        """
        if self._interruption is not None:
            raise self._interrupted(output)
        name = self._reader.source.name
        if self._reader.hdr is not None:
            self._say(f"{name}: HDR ({self._reader.hdr.name}) was converted to SDR")
        if self._reader.damage is not None:
            self.is_whole = False
            self._say(self._reader.damage)
        if not self._reader.frames:
            raise ImageError(f"{name}: none of its frames could be decoded")
        if self.frames and self._highest < MASK_THRESHOLD:
            self._say(f"{name}: no object found: the highest value is {self._highest} of 255")
        seconds = time.perf_counter() - self._start
        summary = f"{counted(self.frames, 'frame')}, {seconds:.1f} s"
        stream = sys.stderr if self._as_json else sys.stdout
        print(f"{summary}, {self.frames / seconds:.1f} frames/s", file=stream)

    def _interrupted(self, output: Path) -> BaseException:
        """Return the interruption, with the number of written frames as its message."""
        frames = counted(self.frames, "frame")
        done = f"{frames} in {output}" if self.frames else "no frames written"
        if isinstance(self._interruption, KeyboardInterrupt):
            return KeyboardInterrupt(done)
        assert self._interruption is not None
        self._say(f"terminated: {done}")
        return self._interruption

    def _say(self, line: str) -> None:
        complain(self._program, line)
