"""Containers and codecs of the videos that are written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dsunet_runtime.errors import OutputError

_RGBA = 4


@dataclass(frozen=True, slots=True)
class Encoding:
    """A codec with its pixel format and its options."""

    codec: str
    pixels: str
    options: dict[str, str]


@dataclass(frozen=True, slots=True)
class Container:
    """A container with its codecs."""

    format: str
    """FFmpeg's name."""
    video: Encoding
    alpha: Encoding | None
    audio: str
    """Encoder for audio whose codec the container does not support."""


# Constant quality, visually lossless in ordinary scenes.
_H264 = Encoding("libx264", "yuv420p", {"crf": "18", "preset": "medium"})
_VP9_OPTIONS = {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}
_VP9 = Encoding("libvpx-vp9", "yuv420p", _VP9_OPTIONS)
_VP9_ALPHA = Encoding("libvpx-vp9", "yuva420p", {**_VP9_OPTIONS, "auto-alt-ref": "0"})
_PRORES = Encoding("prores_ks", "yuva444p10le", {"profile": "4444", "alpha_bits": "8"})

_CONTAINERS = {
    ".mp4": Container("mp4", _H264, None, "aac"),
    ".mkv": Container("matroska", _H264, None, "aac"),
    ".mov": Container("mov", _H264, _PRORES, "aac"),
    ".webm": Container("webm", _VP9, _VP9_ALPHA, "libopus"),
}
SUFFIXES = tuple(_CONTAINERS)
"""Suffixes of the videos that are written."""


def container_for(path: Path) -> Container:
    """Return the container of a file by its suffix.  Raises OutputError if it is unknown."""
    try:
        return _CONTAINERS[path.suffix.lower()]
    except KeyError:
        raise OutputError(
            f"{path}: masks of a video go to a video ({', '.join(SUFFIXES)}), or to a folder as "
            f"images: name one of these"
        ) from None


def encoding_for(path: Path, channels: int) -> Encoding:
    """Return the codec for renderings of 1, 3 or 4 channels in the container of a file.

    Raises OutputError if the container is unknown, or does not support the alpha of 4 channels.
    """
    container = container_for(path)
    if channels < _RGBA:
        return container.video
    if container.alpha is None:
        with_alpha = [suffix for suffix, c in _CONTAINERS.items() if c.alpha is not None]
        raise OutputError(
            f"{path}: {path.suffix} does not support transparency: name "
            f"{' or '.join(with_alpha)}, or a folder for PNG files"
        )
    return container.alpha
