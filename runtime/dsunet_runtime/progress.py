"""A line of progress on a terminal, and nothing anywhere else."""

from __future__ import annotations

import time
from typing import Self, TextIO

from dsunet_runtime.closing import Closing
from dsunet_runtime.quoting import clean

_WIDTH = 30
_CLEAR_LINE = "\r\x1b[K"


def bar(fraction: float) -> str:
    """How much is done, 0 to 1, as a bar."""
    filled = int(_WIDTH * fraction)
    return "█" * filled + "·" * (_WIDTH - filled)


class StatusLine(Closing):
    """One line on `stream` that is written over, if that is a terminal; leaving it clears it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._draws = stream.isatty()
        self._text = ""

    def show(self, text: str) -> None:
        """Write the line anew."""
        self._text = text
        if self._draws:
            print(_CLEAR_LINE + text, end="", file=self._stream, flush=True)

    def say(self, line: str) -> None:
        """Print a line above it, on a terminal or not."""
        self.close()
        print(clean(line), file=self._stream, flush=True)
        self.show(self._text)

    def close(self) -> None:
        """Clear the line."""
        if self._draws:
            print(_CLEAR_LINE, end="", file=self._stream, flush=True)


class Progress(StatusLine):
    """Counts images to `total`."""

    def __init__(self, total: int, stream: TextIO) -> None:
        super().__init__(stream)
        self._total = total
        self._done = 0
        self._start = time.monotonic()

    def __enter__(self) -> Self:
        self._draw()
        return self

    def advance(self) -> None:
        """One more is done."""
        self._done += 1
        self._draw()

    def _draw(self) -> None:
        rate = self._done / max(time.monotonic() - self._start, 1e-9)
        drawn = bar(self._done / self._total)
        self.show(f"{drawn} {self._done}/{self._total}  {rate:.1f} images/s")
