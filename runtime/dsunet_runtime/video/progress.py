"""The progress line of a video."""

from __future__ import annotations

import time
from typing import TextIO

from dsunet_runtime.progress import StatusLine, bar

_HOUR, _MINUTE = 3600, 60


class VideoProgress(StatusLine):
    """Progress over the frames of a video, with speed and the time that is left."""

    def __init__(self, total: int | None, stream: TextIO) -> None:
        """Begin; `total` is the number of frames, or None if it is unknown."""
        super().__init__(stream)
        self._total = total
        self._done = 0
        self._start = time.monotonic()

    def advance(self) -> None:
        """Count one frame."""
        self._done += 1
        self._draw()

    def _draw(self) -> None:
        rate = self._done / max(time.monotonic() - self._start, 1e-9)
        if self._total is None:
            self.show(f"{self._done} frames  {rate:.1f} frames/s")
            return
        total = max(self._total, self._done)  # headers may be wrong
        left = clock((total - self._done) / rate)
        drawn = bar(self._done / total)
        self.show(f"{drawn} {self._done}/{total}  {rate:.1f} frames/s  {left} left")


def clock(seconds: float) -> str:
    """Format a time as minutes and seconds, `2:05`, from an hour on `1:02:05`."""
    whole = round(seconds)
    hours, rest = divmod(whole, _HOUR)
    minutes, last = divmod(rest, _MINUTE)
    return f"{hours}:{minutes:02}:{last:02}" if hours else f"{minutes}:{last:02}"
