"""How long the steps of a command take."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

Report = Callable[[str, float], None]
"""Hears of each step, by name, and its seconds as it ends."""


def print_step(name: str, seconds: float) -> None:
    """Say so on stderr."""
    print(f"{name}: {seconds:.1f} s", file=sys.stderr)


class Stopwatch:
    """Reports how long each step took."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.since = time.perf_counter()

    def step(self, name: str) -> None:
        """The step with this name has ended, and the next one begins."""
        now = time.perf_counter()
        self.report(name, now - self.since)
        self.since = now
