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
"""Seconds between looks at whether the consumer is still there."""


_LAST_ITEM = 1.0
"""Seconds that the thread may take to end."""


@dataclass(frozen=True, slots=True)
class _Failure:
    error: Exception


class ReadAhead(Generic[T]):
    """Items of a generator, up to `limit` of them in advance.

    The thread does not keep the process alive: a camera that gives no more frames cannot be
    interrupted.

    Attributes:
        dropped: Number of items that came while `limit` others were waiting, if those are dropped.
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
            items: What to read; it is closed by the thread.
            limit: Number of items that may wait.
            drop: Whether further items are dropped; otherwise the generator is paused.
            patience: Seconds without an item after which the iteration ends (default: no limit).
            stalled: Called if that happens.
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
            self._put_at_last(None)
        except Exception as error:  # raised where the items are used
            self._put_at_last(_Failure(error))

    def _put(self, item: T) -> bool:
        """Hand over an item, or drop it; return whether there is still a consumer."""
        if self._drop:
            try:
                self._waiting.put_nowait(item)
            except queue.Full:
                self.dropped += 1
            return not self._is_over.is_set()
        return self._put_at_last(item)

    def _put_at_last(self, item: T | _Failure | None) -> bool:
        while not self._is_over.is_set():
            try:
                self._waiting.put(item, timeout=_POLL)
            except queue.Full:
                continue
            return True
        return False
