"""The audio of a video: copied, or encoded again where the container does not take its codec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from av import AudioStream, Packet
    from av.container import OutputContainer

_EVERY_CODEC_TAKES = 48_000
"""Sampling rate for encoding again, in Hz."""


class Track:
    """One audio stream of the output.

    Attributes:
        is_copied: Whether the packets are those of the input.
    """

    def __init__(self, output: OutputContainer, stream: AudioStream, encoder: str) -> None:
        """Add the stream to a container, before anything is written to it."""
        self.is_copied = True
        self._output: Any  # PyAV's types do not tell audio from video
        try:
            self._output = output.add_stream_from_template(stream)
        except ValueError:  # the container does not take the codec
            self.is_copied = False
            self._output = output.add_stream(encoder, rate=_EVERY_CODEC_TAKES)
            self._output.layout = stream.layout.name

    def packets(self, packet: Packet[AudioStream]) -> list[Packet[Any]]:
        """Return what is written for a packet of the input; an empty one ends its stream."""
        from av import FFmpegError

        if not self.is_copied:
            try:
                frames = packet.decode()
            except FFmpegError:  # damaged: heard as a gap
                return []
            return [encoded for frame in frames for encoded in self._output.encode(frame)]
        if packet.dts is None:
            return []
        packet.stream = self._output
        return [packet]

    def rest(self) -> list[Packet[Any]]:
        """Return the last packets of the encoder."""
        return [] if self.is_copied else list(self._output.encode(None))
