"""The smallest set with which something holds, found by leaving out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def minimize(items: Sequence[T], holds: Callable[[Sequence[T]], bool]) -> list[T]:
    """A part of the items with which it still holds, and of which none can be left out.

    It must hold with all of them.  Large parts are left out first, so that it takes few trials
    where few items matter.  (Zeller and Hildebrandt's delta debugging, without its complements.)
    """
    left, size = list(items), len(items)
    while size:
        start, changed = 0, False
        while start < len(left):
            rest = left[:start] + left[start + size :]
            if holds(rest):
                left, changed = rest, True
            else:
                start += size
        # Alone, each is tried until nothing changes: one may matter only beside another.
        if size > 1 or not changed:
            size //= 2
    return left
