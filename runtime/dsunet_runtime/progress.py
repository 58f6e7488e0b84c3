"""Progress lines on terminals, for images and for videos."""

from __future__ import annotations

import os
import time
from typing import Self, TextIO

from dsunet_runtime.closeable import Closeable
from dsunet_runtime.message_text import clean

_WIDTH = 30
_HOUR, _MINUTE = 3600, 60
_CLEAR_LINE = "\r\x1b[K"


def bar(fraction: float, width: int = _WIDTH) -> str:
    """Draw a progress bar for a fraction from 0 to 1."""
    filled = int(width * fraction)
    return "█" * filled + "·" * (width - filled)


def _columns(stream: TextIO) -> int:
    """Return the width of the terminal; 80 if it is unknown."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


class StatusLine(Closeable):
    """A line on a terminal that is overwritten, and cleared on close.  Prints nothing elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.is_terminal = stream.isatty()
        self._text = ""

    def show(self, text: str) -> None:
        """Replace the line.  It is cut to the width, since a wrapped line could not be cleared."""
        self._text = text
        if self.is_terminal:
            line = text[: _columns(self._stream) - 1]
            print(_CLEAR_LINE + line, end="", file=self._stream, flush=True)

    def say(self, line: str) -> None:
        """Print a permanent line above the progress line, also if the stream is not a terminal."""
        self.close()
        print(clean(line), file=self._stream, flush=True)
        self.show(self._text)

    def close(self) -> None:
        """Clear the line."""
        if self.is_terminal:
            print(_CLEAR_LINE, end="", file=self._stream, flush=True)


class Progress(StatusLine):
    """Progress over `total` images, with throughput."""

    def __init__(self, total: int, stream: TextIO) -> None:
        super().__init__(stream)
        self._total = total
        self._done = 0
        self._start = time.monotonic()

    def __enter__(self) -> Self:
        self.show(self._line())
        return self

    def advance(self) -> None:
        """Count one image."""
        self._done += 1
        self.show(self._line())

    @property
    def _rate(self) -> float:
        """Images per second so far."""
        return self._done / max(time.monotonic() - self._start, 1e-9)

    def _line(self) -> str:
        drawn = bar(self._done / max(1, self._total))
        return f"{drawn} {self._done}/{self._total}  {self._rate:.1f} images/s"


class VideoProgress(Progress):
    """Progress over the frames of a video, with throughput and remaining time.

    Args:
        total: Number of frames; None if it is unknown.
        stream: Where the line is shown, if it is a terminal.
    """

    def __init__(self, total: int | None, stream: TextIO) -> None:
        super().__init__(total or 0, stream)

    def _line(self) -> str:
        rate = self._rate
        if not self._total:
            return f"{self._done} frames  {rate:.1f} frames/s"
        total = max(self._total, self._done)  # headers may be wrong
        left = clock((total - self._done) / rate) if rate else "?"
        return f"{bar(self._done / total)} {self._done}/{total}  {rate:.1f} frames/s  {left} left"


def clock(seconds: float) -> str:
    """Format a duration as minutes and seconds, `2:05`, or with hours, `1:02:05`."""
    whole = round(seconds)
    hours, rest = divmod(whole, _HOUR)
    minutes, last = divmod(rest, _MINUTE)
    return f"{hours}:{minutes:02}:{last:02}" if hours else f"{minutes}:{last:02}"
