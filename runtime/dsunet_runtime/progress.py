"""A progress bar of one line on a terminal, and nothing anywhere else."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self, TextIO

_WIDTH = 30
_CLEAR_LINE = "\r\x1b[K"


class Progress:
    """Counts to `total`.  Draws on `stream` if that is a terminal; leaving it clears the line."""

    def __init__(self, total: int, stream: TextIO) -> None:
        self._total = total
        self._stream = stream
        self._draws = stream.isatty()
        self._done = 0
        self._start = time.monotonic()

    def __enter__(self) -> Self:
        self._draw()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._clear()

    def advance(self) -> None:
        """One more is done."""
        self._done += 1
        self._draw()

    def say(self, line: str) -> None:
        """Print a line above the bar, on a terminal or not."""
        self._clear()
        print(line, file=self._stream, flush=True)
        self._draw()

    def _draw(self) -> None:
        if not self._draws:
            return
        filled = _WIDTH * self._done // self._total
        rate = self._done / max(time.monotonic() - self._start, 1e-9)
        bar = "█" * filled + "·" * (_WIDTH - filled)
        line = f"{bar} {self._done}/{self._total}  {rate:.1f} images/s"
        print(_CLEAR_LINE + line, end="", file=self._stream, flush=True)

    def _clear(self) -> None:
        if self._draws:
            print(_CLEAR_LINE, end="", file=self._stream, flush=True)
