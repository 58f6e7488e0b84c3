"""An iterator that runs ahead in a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

_POLL = 0.1
"""Seconds between checks whether the consumer has stopped."""
_LAST_ITEM = 1.0
"""Seconds to wait for the end of the thread."""


@dataclass(frozen=True, slots=True)
class _Failure:
    error: Exception


class ReadAhead(Generic[T]):
    """Items of a generator, up to `limit` of them in advance.

    The thread is a daemon, because reading from a stalled camera cannot be interrupted.

    Attributes:
        dropped: Number of items that were dropped because `limit` others were waiting.
    """

    def __init__(
        self,
        items: Generator[T, None, None],
        limit: int,
        *,
        drop: bool,
        patience: float | None = None,
        stalled: Callable[[], None] = lambda: None,
    ) -> None:
        """Start reading.

        Args:
            items: The generator; the thread closes it.
            limit: Maximum number of items that wait.
            drop: Whether to drop further items; otherwise the generator is paused.
            patience: Seconds without an item after which the iteration ends (default: no limit).
            stalled: Called in that case.
        """
        self.dropped = 0
        self._items = items
        self._waiting: queue.Queue[T | _Failure | None] = queue.Queue(limit)
        self._drop = drop
        self._patience = patience
        self._stalled = stalled
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        try:
            while True:
                try:
                    item = self._waiting.get(timeout=self._patience)
                except queue.Empty:
                    self._stalled()
                    return
                if item is None:
                    return
                if isinstance(item, _Failure):
                    raise item.error
                yield item
        finally:
            self._is_over.set()
            self._thread.join(_LAST_ITEM)

    def _read(self) -> None:
        try:
            with closing(self._items):
                for item in self._items:
                    if not self._put(item):
                        return
            self._put_waiting(None)
        except Exception as error:  # raised where the items are used
            self._put_waiting(_Failure(error))

    def _put(self, item: T) -> bool:
        """Queue an item, or drop it; return whether the consumer still reads."""
        if self._drop:
            try:
                self._waiting.put_nowait(item)
            except queue.Full:
                self.dropped += 1
            return not self._is_over.is_set()
        return self._put_waiting(item)

    def _put_waiting(self, item: T | _Failure | None) -> bool:
        while not self._is_over.is_set():
            try:
                self._waiting.put(item, timeout=_POLL)
            except queue.Full:
                continue
            return True
        return False
