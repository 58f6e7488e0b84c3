from __future__ import annotations

import gc

import pytest

from tests.threads import one_thread_per_session

__all__ = ["one_thread_per_session"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, so that in the end no process waits for one that runs them."""
    items.sort(
        key=lambda item: item.path.parent.name != "pages" and item.path.name != "test_chain.py"
    )


def pytest_collection_finish() -> None:
    """Spare the garbage collector the libraries, and let it run less often: a tenth of the time."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
