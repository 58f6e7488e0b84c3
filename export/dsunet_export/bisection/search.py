"""Search for a minimal subset for which a condition holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def minimize(items: Sequence[T], holds: Callable[[Sequence[T]], bool]) -> list[T]:
    """Return a subset of the items for which `holds` is true and no item can be left out.

    `holds` must be true for all items.  Large parts are left out first, so that few trials are
    needed if few items matter (delta debugging of Zeller and Hildebrandt, without complements).
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
        # Single items are tried until nothing changes: one may matter only beside another.
        if size > 1 or not changed:
            size //= 2
    return left
