"""Time the steps of a command."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

Report = Callable[[str, float], None]
"""Called with the name and the seconds of each step when it ends."""


def print_step(name: str, seconds: float) -> None:
    """Print the name and seconds of a step on stderr."""
    print(f"{name}: {seconds:.1f} s", file=sys.stderr)


class Stopwatch:
    """Reports the duration of each step."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.since = time.perf_counter()

    def step(self, name: str) -> None:
        """Report the end of a step and start timing the next one."""
        now = time.perf_counter()
        self.report(name, now - self.since)
        self.since = now
