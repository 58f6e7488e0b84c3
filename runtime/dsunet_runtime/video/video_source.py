"""Videos on the command line: files by suffix, URLs and cameras."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from dsunet_runtime.errors import ImageError
from dsunet_runtime.files import open_regular
from dsunet_runtime.message_text import printable, reason

# fmt: off
SUFFIXES = frozenset({
    ".3g2", ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg",
    ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m",
})
# fmt: on
"""Suffixes of videos, in lower or upper case.  Animated images (.gif, .apng, .webp) are images."""

LIVE_SCHEMES = ("rtp", "rtmp", "rtmps", "rtsp", "rtsps", "srt", "udp")
SCHEMES = (*LIVE_SCHEMES, "http", "https")
MOST_CAMERAS = 255
"""Maximum number of a camera."""
MOST_SMOOTH = 16
"""Maximum number of frames before and after each one whose masks are averaged with its own."""
TIMEOUT = 10.0
"""Seconds without data after which a camera or stream counts as stalled."""

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_PASSWORD = re.compile(r"://[^/@]*@")
_OPEN_RTSP = {"rtsp_flags": "prefer_tcp"}


class Url(type(Path())):  # type: ignore[misc]
    """A URL in a list of paths; `Path` would remove slashes from it.

    Attributes:
        text: The URL as typed.
    """

    text: str

    def __new__(cls, text: str) -> Self:
        self: Self = super().__new__(cls, text)
        self.text = text
        return self


@dataclass(frozen=True, slots=True)
class VideoSource:
    """A video to open.

    Attributes:
        name: Name in messages; a URL without user, password and query.
        stem: Prefix of the names of frames.
        address: Address for FFmpeg.
        format: FFmpeg's demuxer; None to detect it.
        options: FFmpeg's options.
        is_live: Whether it continues while it is not read, as a camera.
        path: The file; None for URLs and cameras.
    """

    name: str
    stem: str
    address: str
    format: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    is_live: bool = False
    path: Path | None = None

    @classmethod
    def of_file(cls, path: Path) -> Self:
        """Create the source of a file.  Raises ImageError if it cannot be read or is not a file."""
        try:
            with open_regular(path):
                pass
        except OSError as error:
            raise ImageError(f"{path}: {reason(error)}") from error
        # The protocol prevents that a name is taken for a URL.
        return cls(str(path), path.stem, f"file:{path}", path=path)

    @classmethod
    def of_url(cls, url: str) -> Self:
        """Create the source of a stream.  Raises ImageError for protocols not in `SCHEMES`."""
        found = _URL.match(url)
        scheme = found[1].lower() if found else ""
        if found is None or scheme not in SCHEMES:
            raise ImageError(
                f"{printable(_PASSWORD.sub('://', url))}: this protocol is not supported: "
                f"use {', '.join(SCHEMES[:-1])} or {SCHEMES[-1]}"
            )
        address = f"{scheme}://{url[found.end() :]}"
        shown = _PASSWORD.sub("://", address.partition("?")[0])  # a query may hold a token
        stem = Path(shown.rstrip("/")).stem or scheme
        is_live = scheme in LIVE_SCHEMES
        return cls(shown, stem, address, options=_OPEN_RTSP if is_live else {}, is_live=is_live)

    @classmethod
    def of_camera(cls, number: int) -> Self:
        """Create the source of a camera.  Raises ImageError if it is missing, or not on Linux."""
        if sys.platform != "linux":
            raise ImageError("cameras are supported on Linux only, through V4L2: use a URL")
        device = Path(f"/dev/video{number}")
        if not device.exists():
            found = sorted(path.name for path in device.parent.glob("video*"))
            known = f"found {', '.join(found)}" if found else "found none in /dev"
            raise ImageError(f"camera {number}: there is no {device}: {known}")
        return cls(f"camera {number}", f"camera{number}", str(device), "v4l2", is_live=True)


def is_url(text: str) -> bool:
    """Whether an argument is a URL rather than a path."""
    return _URL.match(text) is not None


def is_video(path: Path) -> bool:
    """Whether an argument names a video: a URL, or a file with the suffix of one."""
    return isinstance(path, Url) or path.suffix.lower() in SUFFIXES


def source_of(path: Path) -> VideoSource:
    """Return the video that an argument names.  Raises ImageError if it cannot be read."""
    return VideoSource.of_url(path.text) if isinstance(path, Url) else VideoSource.of_file(path)
