"""Writing of renderings: as a video, or as a folder of image files."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dsunet_runtime.closeable import Closeable
from dsunet_runtime.errors import OutputError
from dsunet_runtime.message_text import reason
from dsunet_runtime.prediction.jobs import OutputKind
from dsunet_runtime.prediction.output_files import write_pixels
from dsunet_runtime.video.audio import AudioTrack
from dsunet_runtime.video.colour import BT709, LIMITED, to_encoder_frame
from dsunet_runtime.video.encodings import container_for, encoding_for
from dsunet_runtime.video.reader import FrameInfo

if TYPE_CHECKING:
    from av import AudioStream, Packet

_DIGITS = 6


Renderings = Sequence[NDArray[np.uint8]]
"""Grey H×W, RGB H×W×3 or RGBA H×W×4, in the order of the job's kinds."""


class FrameSink(Protocol):
    """A destination of frames, which are written in order."""

    frames: int
    """Number of frames written."""

    def outputs(self, index: int) -> list[Path]:
        """Return the files that contain a frame."""

    def write(self, info: FrameInfo, renderings: Renderings) -> None:
        """Write a frame.  Raises OutputError."""

    def listen(self, packet: Packet[AudioStream]) -> None:
        """Write a packet of audio, from any thread.  Raises OutputError."""


class FrameFolder:
    """A folder with a file for each rendering of each frame: NAME_000001.png, numbered from 1."""

    def __init__(self, folder: Path, stem: str, kinds: Sequence[OutputKind]) -> None:
        self._folder = folder
        self._stem = stem
        self._kinds = kinds
        self.frames = 0

    def outputs(self, index: int) -> list[Path]:
        """Return the files of a frame."""
        stem = f"{self._stem}_{index + 1:0{_DIGITS}}"
        return [self._folder / kind.file_name(stem) for kind in self._kinds]

    def first_missing(self) -> int:
        """Return the index of the first frame that lacks a file."""
        index = 0
        while all(path.is_file() for path in self.outputs(index)):
            index += 1
        return index

    def write(self, info: FrameInfo, renderings: Renderings) -> None:
        """Write the files of a frame.  Raises OutputError."""
        for kind, path, pixels in zip(
            self._kinds, self.outputs(info.index), renderings, strict=True
        ):
            write_pixels(pixels, path, kind.suffix)
        self.frames += 1

    def listen(self, packet: Packet[AudioStream]) -> None:
        """Ignore the audio."""


class VideoWriter(Closeable):
    """A video with one rendering, and the audio of another video.

    The size is that of the first frame, with the last row or column repeated where a side is odd.

    Attributes:
        notices: Lines about differences from the source.
        frames: Number of frames written.
    """

    def __init__(
        self,
        path: Path,
        file: BinaryIO,
        *,
        channels: int,
        time_base: Fraction,
        rate: Fraction | None,
        audio: Sequence[AudioStream],
    ) -> None:
        """Prepare the video; the header is written with the first frame.

        Args:
            path: Path for messages; its suffix names the container.
            file: Seekable file for the bytes.
            channels: Channels of the rendering: 1, 3 or 4.
            time_base: Unit of the times of frames, in seconds.
            rate: Average number of frames per second; None if unknown.
            audio: Streams whose packets will be passed to `listen`.

        Raises:
            OutputError: The container is unknown, or does not support a rendering with alpha.
        """
        self.notices: list[str] = []
        self.frames = 0
        self._path = path
        self._file = file
        self._size: tuple[int, ...] = ()
        self._has_other_sizes = False
        self._has_lost_audio = False
        self._encoding = encoding_for(path, channels)
        self._time_base = time_base
        self._rate = rate
        self._audio = audio
        self._lock = threading.Lock()
        self._container: Any = None
        self._video: Any = None
        self._tracks: dict[int, AudioTrack] = {}
        self._early: list[Packet[AudioStream]] = []
        self._is_closed = False

    def outputs(self, index: int) -> list[Path]:
        """Return the video."""
        return [self._path]

    def write(self, info: FrameInfo, renderings: Renderings) -> None:
        """Encode a frame.  Raises OutputError."""
        (pixels,) = renderings
        with _explained(self._path):
            if self._video is None:
                self._size = pixels.shape[:2]
                self._open(info.pixel_aspect)
            frame = to_encoder_frame(self._fitted(pixels), self._encoding.pixels)
            frame.pts, frame.time_base = info.pts, self._time_base
            frame.duration = info.duration
            packets = self._video.encode(frame)
            with self._lock:
                self._mux(packets)
        self.frames += 1

    def listen(self, packet: Packet[AudioStream]) -> None:
        """Write a packet of audio; after `finish` or `close` it is ignored.  Raises OutputError."""
        with _explained(self._path), self._lock:
            if self._is_closed:
                return
            if not self._tracks:
                self._early.append(packet)
                return
            self._mux(self._tracks[packet.stream.index].packets(packet))

    def finish(self) -> None:
        """Flush the encoders and write the index.  Raises OutputError."""
        with _explained(self._path), self._lock:
            self._mux(self._video.encode(None))
            for track in self._tracks.values():
                self._mux(track.flush())
            self._is_closed = True
            with self._without_damaged_audio():
                self._container.close()
            if self._has_lost_audio:
                self.notices.append("parts of the audio are damaged: left out")

    def close(self) -> None:
        """Discard the video, unless it is finished."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            if self._container is not None:
                with suppress(Exception):  # the file is discarded
                    self._container.close()

    def _open(self, pixel_aspect: Fraction | None) -> None:
        import av

        height, width = (side + side % 2 for side in self._size)
        if (height, width) != self._size:
            self.notices.append(
                f"{self._size[1]}×{self._size[0]} has an odd side: the video is "
                f"{width}×{height}, with the last row or column repeated"
            )
        container = container_for(self._path)
        with self._lock:
            self._container = av.open(self._file, "w", container.format)
            video: Any = self._container.add_stream(
                self._encoding.codec, rate=self._rate or 25, options=self._encoding.options
            )
            video.width, video.height, video.pix_fmt = width, height, self._encoding.pixels
            video.codec_context.time_base = video.time_base = self._time_base
            video.codec_context.flags |= av.codec.context.Flags.frame_duration.value
            video.colorspace = video.color_primaries = video.color_trc = BT709
            video.color_range = LIMITED
            if pixel_aspect is not None:
                video.codec_context.sample_aspect_ratio = pixel_aspect
            self._video = video
            for stream in self._audio:
                track = AudioTrack(self._container, stream, container.audio)
                self._tracks[stream.index] = track
                if not track.is_copied:
                    self.notices.append(
                        f"{self._path.suffix} does not support audio in "
                        f"{stream.codec_context.name}: encoded again with {container.audio}"
                    )
            self._container.start_encoding()
            for packet in self._early:
                self._mux(self._tracks[packet.stream.index].packets(packet))
            self._early.clear()

    def _mux(self, packets: Sequence[Packet[Any]]) -> None:
        """Write packets, with the lock held."""
        for packet in packets:
            with self._without_damaged_audio():
                self._container.mux(packet)

    @contextmanager
    def _without_damaged_audio(self) -> Iterator[None]:
        """Continue after packets of audio that cannot be written.

        The error may be of an earlier packet, since packets wait for those of other streams.
        """
        from av import FFmpegError

        try:
            yield
        except FFmpegError as error:
            if isinstance(error, OSError) or not self._tracks:
                raise
            self._has_lost_audio = True

    def _fitted(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Repeat the last row or column of odd sizes, and resize frames of another size."""
        if pixels.shape[:2] != self._size:
            if not self._has_other_sizes:
                self._has_other_sizes = True
                self.notices.append(
                    f"the size of the frames changes: resized to that of the first, "
                    f"{self._size[1]}×{self._size[0]}"
                )
            height, width = self._size
            resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
            pixels = np.asarray(resized)
        more = [(0, side % 2) for side in self._size] + [(0, 0)]
        return np.pad(pixels, more[: pixels.ndim], mode="edge")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Convert errors of writing to OutputError."""
    from av import FFmpegError

    try:
        yield
    except (FFmpegError, OSError, ValueError) as error:
        raise OutputError(f"{path}: cannot be written: {reason(error)}") from error
