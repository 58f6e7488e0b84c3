from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from dsunet_runtime import OutputError
from dsunet_runtime.video.read_ahead import ReadAhead


def numbers(count: int, closed: list[bool], seen: list[int]) -> Generator[int, None, None]:
    try:
        for number in range(count):
            seen.append(number)
            yield number
    finally:
        closed.append(True)


def test_all_in_order() -> None:
    closed: list[bool] = []
    assert list(ReadAhead(numbers(100, closed, []), 3, drop=False)) == list(range(100))
    assert closed == [True]


def test_bounded() -> None:
    seen: list[int] = []
    items = iter(ReadAhead(numbers(100, [], seen), 3, drop=False))
    next(items)
    threading.Event().wait(0.2)
    assert len(seen) <= 1 + 3 + 1


def test_consumer_that_leaves() -> None:
    closed: list[bool] = []
    for _ in ReadAhead(numbers(10**9, closed, []), 3, drop=False):
        break
    assert closed == [True]


def test_error_arrives() -> None:
    def broken() -> Generator[int, None, None]:
        yield 1
        raise OutputError("full")

    items = iter(ReadAhead(broken(), 3, drop=False))
    assert next(items) == 1
    with pytest.raises(OutputError, match="full"):
        next(items)


def test_dropped_ones_are_counted() -> None:
    may_end = threading.Event()

    def fast() -> Generator[int, None, None]:
        yield from range(50)
        may_end.wait()

    ahead = ReadAhead(fast(), 4, drop=True)
    threading.Event().wait(0.1)
    may_end.set()
    found = list(ahead)
    assert found[0] == 0
    assert len(found) + ahead.dropped == 50
    assert len(found) <= 5


def test_stall() -> None:
    never = threading.Event()
    stalled: list[bool] = []

    def hangs() -> Generator[int, None, None]:
        yield 1
        never.wait()

    ahead = ReadAhead(hangs(), 3, drop=False, patience=0.1, stalled=lambda: stalled.append(True))
    assert list(ahead) == [1]
    assert stalled == [True]
    never.set()
