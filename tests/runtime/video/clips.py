"""Tiny clips, written and read with PyAV alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

RATE = 25
TICKS = 12800
"""Per second: the time base of the clips."""
STEP = TICKS // RATE
HEIGHT, WIDTH = 48, 64
LOSSLESS = {"qp": "0", "preset": "ultrafast"}
Image = NDArray[np.uint8]


def scene(count: int, height: int = HEIGHT, width: int = WIDTH) -> list[Image]:
    """Smooth colours with a bright square that moves, different in each corner."""
    rows, columns = np.mgrid[0:height, 0:width]
    ground = np.stack([40 + 2 * columns, 60 + 2 * rows, 120 - columns], axis=-1)
    frames = []
    for index in range(count):
        frame = ground.clip(0, 200).astype(np.uint8)
        left = 4 + index % (width // 2)
        frame[8:20, left : left + 12] = (230, 220, 240)
        frames.append(frame)
    return frames


@dataclass(frozen=True)
class Audio:
    """Audio to put into a clip."""

    codec: str = "aac"
    seconds: float = 0.4
    rate: int = 48000


def write(
    path: Path,
    frames: Sequence[Image],
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
    times: Sequence[int] | None = None,
    audio: Audio | None = None,
    container_options: dict[str, str] | None = None,
    attachment: bytes = b"",
    rotation: tuple[float, bool] | None = None,
    **settings: Any,
) -> Path:
    """Write a clip.

    Args:
        path: Its suffix names the container.
        frames: H×W×3, all of one size.
        codec: The encoder.
        pixels: Its pixel format.
        options: Its options; without loss if that is H.264 and there are none.
        times: Of the frames in ticks; 25 frames/s without them.
        audio: None for none.
        container_options: Options of the muxer.
        attachment: A file in the container.
        rotation: Angle of the display matrix, counterclockwise, and whether it mirrors.
        settings: Attributes of the codec context, such as `sample_aspect_ratio`.
    """
    if options is None:
        options = LOSSLESS if codec == "libx264" else {}
    with av.open(path, "w", container_options=container_options) as container:
        stream: Any = container.add_stream(codec, rate=RATE, options=options)
        stream.height, stream.width, _ = frames[0].shape
        stream.pix_fmt = pixels
        stream.codec_context.time_base = Fraction(1, TICKS)
        stream.codec_context.flags |= av.codec.context.Flags.frame_duration
        for name, value in settings.items():
            setattr(stream.codec_context, name, value)
        if rotation is not None:
            if not hasattr(stream, "set_display_rotation"):
                pytest.skip("this PyAV does not write display matrices")
            stream.set_display_rotation(rotation[0], hflip=rotation[1])
        sound: Any = None
        if audio is not None:
            sound = container.add_stream(audio.codec, rate=audio.rate)
            sound.layout = "mono"
        if attachment:
            container.add_attachment("notes.txt", "text/plain", attachment)
        for index, pts in enumerate(times or range(0, STEP * len(frames), STEP)):
            frame = av.VideoFrame.from_ndarray(frames[index])
            frame = frame.reformat(format=pixels, dst_colorspace=settings.get("colorspace"))
            frame.pts, frame.duration, frame.time_base = pts, STEP, Fraction(1, TICKS)
            container.mux(stream.encode(frame))
        if audio is not None:
            wave = np.sin(np.arange(int(audio.seconds * audio.rate)) / 20) * 8000
            block = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None], "s16", "mono")
            block.rate, block.pts, block.time_base = audio.rate, 0, Fraction(1, audio.rate)
            container.mux(sound.encode(block))
            container.mux(sound.encode(None))
        container.mux(stream.encode(None))
    return path


@dataclass(frozen=True)
class Clip:
    """What a file has."""

    frames: list[Image]
    """As stored, H×W×3."""
    times: list[Fraction]
    """In seconds."""
    audio: list[bytes]
    """Packets."""
    audio_codec: str | None
    pixel_aspect: Fraction | None
    codec: str
    rotation: int
    end: Fraction
    """Of the last frame, in seconds."""


def read(path: Path) -> Clip:
    """Decode a clip as FFmpeg does by itself."""
    frames, times, sound = [], [], []
    rotation, end = 0, Fraction(0)
    with av.open(path) as container:
        video = container.streams.video[0]
        for packet in container.demux():
            if packet.stream.type == "audio" and packet.size:
                sound.append(bytes(packet))
            if packet.stream is not video:
                continue
            try:
                decoded = video.decode(packet)
            except av.error.InvalidDataError:  # a packet that is cut short
                continue
            for frame in decoded:
                assert frame.pts is not None
                assert frame.time_base is not None
                frames.append(frame.to_ndarray(format="rgb24"))
                times.append(frame.pts * frame.time_base)
                rotation = frame.rotation
                end = times[-1] + (frame.duration or 0) * frame.time_base
        audio = container.streams.audio
        return Clip(
            frames,
            times,
            sound,
            audio[0].codec_context.name if audio else None,
            video.sample_aspect_ratio,
            video.codec_context.name,
            rotation,
            end,
        )


def names(folder: Path) -> list[str]:
    """The names in a folder, sorted."""
    return sorted(path.name for path in folder.iterdir())
