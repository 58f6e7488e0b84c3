from __future__ import annotations

import gc
from pathlib import Path

import pytest

from tests.threads import one_thread_per_session

__all__ = ["one_thread_per_session"]


LONGEST = ("pages", "test_chain.py", "test_command_lines.py", "training", "export")
"""Folders and files of `tests/` with the longest files."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, so that in the end no process waits for one that runs them."""

    def rank(item: pytest.Item) -> int:
        place = item.path.relative_to(Path(__file__).parent).parts[0]
        return LONGEST.index(place) if place in LONGEST else len(LONGEST)

    items.sort(key=rank)


def pytest_collection_finish() -> None:
    """Spare the garbage collector the libraries, and let it run less often: a tenth of the time."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
