"""The progress of a run: a live line on a terminal or a line per minute, and a line per epoch."""

from __future__ import annotations

import sys
import time
from typing import Self, TextIO

from dsunet.training.run_folder import LogRow
from dsunet_runtime.closeable import Closeable
from dsunet_runtime.progress import StatusLine, bar

_PAUSE = {True: 0.2, False: 60.0}
"""Seconds between two progress lines, by whether the stream is a terminal."""

_BAR = 10


class ProgressReport(Closeable):
    """Prints progress to stderr or `stream`, inside its `with`; outside, it can be pickled."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._line: StatusLine | None = None
        self._shown = 0.0

    def __enter__(self) -> Self:
        self._line = StatusLine(self._stream or sys.stderr)
        self._shown = time.monotonic()
        return self

    def close(self) -> None:
        """Clear the progress line."""
        if self._line is not None:
            self._line.close()

    def say(self, line: str) -> None:
        """Print a line."""
        if self._line is not None:
            self._line.say(line)

    def show(self, done: float, text: str) -> None:
        """Show progress, with `done` from 0 to 1; in a log only if it is due."""
        if self._line is None:
            return
        if self._line.is_terminal:
            self._line.show(f"{bar(done, _BAR)} {text}")
        elif self.is_due:
            self._line.say(text)
        else:
            return
        self._shown = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether the interval since the last progress line has passed."""
        return (
            self._line is not None
            and time.monotonic() - self._shown >= _PAUSE[self._line.is_terminal]
        )

    def epoch(self, row: LogRow, epochs: int) -> None:
        """Print the result of an epoch."""
        metrics = "".join(
            f"  {name.removeprefix('val_')} {value:.4f}"
            for name, value in row.items()
            if name.startswith("val_")
        )
        self.say(
            f"epoch {row['epoch']:.0f}/{epochs}  loss {row['loss']:.4f}  lr {row['lr']:.2e}  "
            f"{row['images_per_s']:.1f} images/s  {format_duration(row['seconds'])}{metrics}"
        )


def format_duration(seconds: float) -> str:
    """Format a duration, such as 41 s, 3:20 min or 2:05 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02} h"
