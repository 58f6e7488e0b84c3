"""Marks of unfinished attempts.

A worker creates a file before it computes something, and removes it afterwards.  A mark that exists
before a computation starts was left by a worker that was killed or ran out of memory during it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def count_attempts(folder: Path, name: str) -> int:
    """Count the attempts of a name that have not ended.  Raises OSError."""
    return sum(path.name.startswith(f"{name}-") for path in folder.iterdir())


@contextmanager
def attempt(folder: Path, name: str) -> Iterator[None]:
    """Mark an attempt while it lasts.  Raises OSError if the mark cannot be written."""
    mark = folder / f"{name}-{uuid.uuid4().hex}"
    mark.touch(exist_ok=False)
    try:
        yield
    finally:
        with suppress(OSError):
            mark.unlink()
