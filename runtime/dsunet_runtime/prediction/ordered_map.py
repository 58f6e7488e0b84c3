"""`map` in a pool of workers, with results in order and a bounded number of items in progress."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_ahead(
    pool: Executor, function: Callable[[T], R], items: Iterable[T], limit: int
) -> Iterator[R]:
    """Yield the results in order; `limit` items are submitted before each wait for the first."""
    pending: deque[Future[R]] = deque()
    for item in items:
        pending.append(pool.submit(function, item))
        if len(pending) == limit:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def map_ready(
    pool: Executor, function: Callable[[T], R], items: Iterable[T], limit: int
) -> Iterator[R]:
    """Yield the results in order, as soon as they are ready; wait only if `limit` are pending."""
    pending: deque[Future[R]] = deque()
    for item in items:
        pending.append(pool.submit(function, item))
        while pending and (pending[0].done() or len(pending) == limit):
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
