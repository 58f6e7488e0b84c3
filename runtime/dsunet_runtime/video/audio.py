"""Audio of a video: copied, or encoded again if the container does not support its codec."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from av import AudioStream, Packet
    from av.container import OutputContainer

_SAMPLE_RATE = 48_000
"""Sampling rate in Hz for encoding again, which all codecs in use support."""


class AudioTrack:
    """One audio stream of the output.

    Attributes:
        is_copied: Whether packets are copied, not encoded again.
    """

    def __init__(self, output: OutputContainer, stream: AudioStream, encoder: str) -> None:
        """Add the stream to a container, before the header is written."""
        self.is_copied = _can_copy(output.format.name, stream)
        self._last: int | None = None
        self._output: Any  # PyAV's types do not tell audio from video
        if self.is_copied:
            self._output = output.add_stream_from_template(stream)
        else:
            self._output = output.add_stream(encoder, rate=_SAMPLE_RATE)
            self._output.layout = stream.layout.name

    def packets(self, packet: Packet[AudioStream]) -> list[Packet[Any]]:
        """Return the packets to write for one of the input; an empty one ends the stream."""
        from av import FFmpegError

        if not self.is_copied:
            try:
                frames = packet.decode()
            except FFmpegError:  # damaged: heard as a gap
                return []
            return [encoded for frame in frames for encoded in self._output.encode(frame)]
        if packet.dts is None or (self._last is not None and packet.dts <= self._last):
            return []  # the end, or damaged: containers take times that increase
        self._last = packet.dts
        packet.pts = max(packet.dts, packet.pts or packet.dts)
        packet.stream = self._output
        return [packet]

    def flush(self) -> list[Packet[Any]]:
        """Flush the encoder: return its last packets."""
        return [] if self.is_copied else list(self._output.encode(None))


def is_audible(stream: AudioStream) -> bool:
    """Whether an audio stream has a codec, a sampling rate and channels; damaged ones may not."""
    context = stream.codec_context
    return context is not None and bool(context.sample_rate and stream.layout.nb_channels)


def _can_copy(container: str, stream: AudioStream) -> bool:
    """Whether a container supports the codec of a stream, by a trial header."""
    import av

    try:
        with av.open(io.BytesIO(), "w", container) as trial:
            trial.add_stream_from_template(stream)
            trial.start_encoding()
    except (ValueError, av.FFmpegError):
        return False
    return True
