"""Decoding of a video, with a report of damage."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from dsunet_runtime.closeable import Closeable
from dsunet_runtime.errors import ImageError
from dsunet_runtime.extras import needs_extra
from dsunet_runtime.message_text import counted, reason
from dsunet_runtime.video.audio import is_audible
from dsunet_runtime.video.colour import hdr_of
from dsunet_runtime.video.hdr import Hdr
from dsunet_runtime.video.orientation import Orientation
from dsunet_runtime.video.video_source import TIMEOUT, VideoSource

if TYPE_CHECKING:
    from av import AudioStream, FFmpegError, Packet, VideoFrame, VideoStream

EXTRA = "video"

_WITH_DURATION = ("mov", "matroska", "avi")
"""Demuxers that read the exact duration of a file from its header."""
_TOLERATED = Fraction(1, 4)
"""Seconds by which a file may be shorter than its duration."""
_STALLED = f"no data for {TIMEOUT:.0f} s"
_MICROSECOND = Fraction(1, 1_000_000)

Listener = Callable[["Packet[AudioStream]"], None]


@dataclass(frozen=True, slots=True)
class FrameInfo:
    """Position and timing of a frame in its video."""

    index: int
    """Number of frames before it."""
    pts: int
    """Time since the beginning of the video, in units of the reader's `time_base`."""
    duration: int
    """Duration in the same units; 0 if unknown."""
    pixel_aspect: Fraction | None
    """Width of a pixel of the upright frame over its height; None if unknown."""


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """A decoded frame, and what is needed to convert it to upright SDR."""

    info: FrameInfo
    stored: VideoFrame
    """The frame as stored: of any pixel format, not upright."""
    orientation: Orientation
    hdr: Hdr | None


class VideoReader(Closeable):
    """An open video.

    Attributes:
        source: The video source.
        time_base: Unit of frame times, in seconds.
        audio: Its audio streams that have a codec and channels.
        left_out: Its other streams, for a message: `2 subtitle streams`; empty if none.
        rate: Average number of frames per second; None if unknown.
        expected_frames: Number of frames by the header, which may be an estimate; None if unknown.
        frames: Number of frames decoded so far.
        hdr: Kind of HDR of its first frame; None before that, and for SDR.
    """

    def __init__(self, source: VideoSource) -> None:
        """Open a video.

        Raises:
            ImageError: It cannot be opened, or has no video stream that can be decoded.
            MissingExtraError: PyAV is not installed.
        """
        with needs_extra(EXTRA):
            import av
        self.source = source
        self._is_reading = False
        timeout = TIMEOUT if source.path is None else None
        try:
            self._container = av.open(
                source.address,
                "r",
                source.format,
                source.options,
                metadata_errors="replace",
                timeout=timeout,
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            raise ImageError(f"{source.name}: {_why_not_opened(source, error)}") from error
        try:
            self._video = self._choose_stream()
        except ImageError:
            self.close()
            raise
        self._video.thread_type = "AUTO"
        stated = self._container.duration
        self._duration = stated * _MICROSECOND if stated and stated > 0 else None
        self._is_exact = self._container.format.name.startswith(_WITH_DURATION)
        self.rate = self._video.average_rate or self._video.guessed_rate or None
        self.expected_frames = self._count()
        self.time_base = self._video.time_base or Fraction(1, 1000)
        self.audio = [s for s in self._container.streams.audio if is_audible(s)]
        self.left_out = self._others()
        self._errors = (av.FFmpegError, OSError)
        self._origin = max(0, self._container.start_time or 0) * _MICROSECOND
        self.frames = 0
        self.hdr: Hdr | None = None
        self._damaged_at: Fraction | None = None
        self._undecoded = 0
        self._imperfect = 0
        self._stopped_by: str | None = None
        self._end = Fraction(0)

    def decode(self, listen: Listener | None = None) -> Generator[DecodedFrame, None, None]:
        """Yield the frames in display order; pass packets of audio to `listen`.

        Frames that cannot be decoded are left out, and `damage` reports them afterwards.
        """
        self._is_reading = True
        last = -1
        try:
            for packet in self._packets():
                if packet.stream in self.audio and listen is not None:
                    listen(self._shifted(packet))
                if packet.stream is not self._video:
                    continue
                for frame in self._decoded(packet):
                    last = max(last + 1, self._time_of(frame, last))
                    yield self._decoded_frame(frame, last)
        finally:
            self._is_reading = False

    def give_up(self) -> None:
        """Record that a live source has stalled."""
        self._stopped_by = _STALLED

    @property
    def damage(self) -> str | None:
        """One line about what could not be decoded, after all frames are read; None if nothing."""
        if self._stopped_by is not None:
            what = f"{self._stopped_by} after {_clock(self._end)}"
        elif self._ends_early():
            what = f"ends after {_clock(self._end)}, where its header says {_clock(self._duration)}"
        elif self._damaged_at is not None:
            lost = counted(self._undecoded, "frame") if self._undecoded else "none"
            what = f"damaged from {_clock(self._damaged_at)} on ({lost} left out)"
        else:
            return None
        return f"{self.source.name}: {what}: {counted(self.frames, 'frame')} could be decoded"

    def close(self) -> None:
        """Close the file or the connection, unless another thread is still reading from it."""
        if not self._is_reading:
            self._container.close()

    def _choose_stream(self) -> VideoStream:
        """Return the video stream; cover images of audio files do not count."""
        streams = self._container.streams
        moving = [s for s in streams.video if not s.disposition & s.disposition.attached_pic]
        if not moving:
            has = "only audio" if streams.audio else "none of the streams are video"
            raise ImageError(f"{self.source.name}: has no video stream ({has}): name a video")
        best = streams.best("video")
        chosen = next((stream for stream in moving if stream is best), moving[0])
        if chosen.codec_context is None:
            raise ImageError(
                f"{self.source.name}: PyAV cannot decode its video codec: convert it, for "
                f"example to H.264"
            )
        return chosen

    def _others(self) -> str:
        kinds = [s.type for s in self._container.streams if s.type not in ("video", "audio")]
        more = sum(s.type == "video" for s in self._container.streams) - 1
        named = [(kind, kinds.count(kind)) for kind in dict.fromkeys(kinds)]
        parts = [counted(number, f"{kind} stream") for kind, number in named]
        return ", ".join([*parts, *([counted(more, "other video stream")] if more else [])])

    def _count(self) -> int | None:
        """Return the number of frames by the header; None if it is unknown."""
        if self._video.frames:
            return self._video.frames
        if self.source.is_live or self._duration is None or self.rate is None:
            return None
        return max(1, round(self._duration * self.rate))

    def _ends_early(self) -> bool:
        whole = self._duration
        return self._is_exact and whole is not None and self._end < whole - _TOLERATED

    def _decoded_frame(self, frame: VideoFrame, pts: int) -> DecodedFrame:
        if not self.frames:
            self.hdr = hdr_of(self._video.codec_context.color_trc)
        duration = frame.duration or 0
        self._end = max(self._end, (pts + duration) * self.time_base)
        orientation = Orientation.of(frame)
        aspect = orientation.aspect(self._video.sample_aspect_ratio)
        info = FrameInfo(self.frames, pts, duration, aspect)
        self.frames += 1
        return DecodedFrame(info, frame, orientation, self.hdr)

    def _packets(self) -> Iterator[Packet[Any]]:
        """Yield all packets, until the end or until reading fails."""
        try:
            for packet in self._container.demux():
                if packet.stream is not self._video and packet.pts is not None:
                    end = packet.pts + (packet.duration or 0)
                    self._end = max(self._end, end * packet.time_base - self._origin)
                yield packet
        except self._errors as error:
            self._stopped_by = _why_stopped(self.source, error)

    def _decoded(self, packet: Packet[Any]) -> list[VideoFrame]:
        try:
            frames: list[VideoFrame] = packet.decode()
        except self._errors:
            self._note_damage(packet.pts)
            self._undecoded += 1
            return []
        for frame in frames:
            if frame.is_corrupt:
                self._note_damage(frame.pts)
        return frames

    def _note_damage(self, pts: int | None) -> None:
        if self._damaged_at is None:
            self._damaged_at = (pts or 0) * self.time_base - self._origin

    def _time_of(self, frame: VideoFrame, last: int) -> int:
        """Return the time since the beginning, by the frame rate if the file has no times."""
        if frame.pts is not None:
            return frame.pts - round(self._origin / self.time_base)
        step = 1 / (self.rate or Fraction(25)) / self.time_base
        return 0 if last < 0 else last + max(1, round(step))

    def _shifted(self, packet: Packet[Any]) -> Packet[Any]:
        shift = round(self._origin / packet.time_base)
        if packet.pts is not None:
            packet.pts -= shift
        if packet.dts is not None:
            packet.dts -= shift
        return packet


def _why_not_opened(source: VideoSource, error: Exception) -> str:
    from av.error import ExitError, InvalidDataError

    if isinstance(error, ExitError):
        return f"no answer within {TIMEOUT:.0f} s"
    if isinstance(error, InvalidDataError):
        whole = (
            ", or it is cut short: the index of MP4 is at the end"
            if source.path is not None
            else ""
        )
        return f"is not a video that PyAV can read{whole}"
    return f"cannot be opened: {reason(error)}"


def _why_stopped(source: VideoSource, error: FFmpegError | OSError) -> str:
    from av.error import ExitError

    if isinstance(error, ExitError):
        return _STALLED
    return (
        f"breaks off ({reason(error)})"
        if source.path is not None
        else f"broke off ({reason(error)})"
    )


def _clock(seconds: Fraction | None) -> str:
    """Format a time: `75.04 s` becomes `1:15.04`."""
    minutes, rest = divmod(float(seconds or 0), 60)
    return f"{minutes:.0f}:{rest:05.2f}"
