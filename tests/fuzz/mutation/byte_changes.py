"""Changes to bytes of any file: bits, blocks, ends, and limits of integer types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Literal, TypeVar

Change = Callable[[Random, bytes], bytes]
"""Makes other bytes of the bytes of a file."""

INTEGERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
"""Limits of integer types, and numbers beside them."""

_Item = TypeVar("_Item")


def change_bytes(random: Random, data: bytes) -> bytes:
    """Make one change, sometimes a few."""
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        data = random.choice(_CHANGES)(random, data)
    return data


def one_of(*changes: Change) -> Change:
    """Return a change that makes one of these, at random."""
    return lambda random, data: random.choice(changes)(random, data)


def change_list(random: Random, items: Sequence[_Item]) -> list[_Item]:
    """Omit, repeat or move one of the items, or cut off the rest."""
    changed = list(items)
    if not changed:
        return changed
    index = random.randrange(len(changed))
    match random.randrange(4):
        case 0:
            del changed[index]
        case 1:
            changed.insert(random.randrange(len(changed) + 1), changed[index])
        case 2:
            changed.insert(random.randrange(len(changed)), changed.pop(index))
        case _:
            del changed[index:]
    return changed


def overwrite_number(
    random: Random, data: bytes, offset: int, size: int, byteorder: Literal["big", "little"]
) -> bytes:
    """Replace the unsigned number of `size` bytes at `offset` by one of `INTEGERS`."""
    number = random.choice(INTEGERS) % (1 << (8 * size))
    return data[:offset] + number.to_bytes(size, byteorder) + data[offset + size :]


def _flip(random: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 3, 20)) if data else 0):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _truncate(random: Random, data: bytes) -> bytes:
    return data[: random.choice((random.randrange(len(data) + 1), max(len(data) - 1, 0), 16, 0))]


def _insert(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    filling = random.choice((random.randbytes(8), b"\0" * 100, b"\x1b]0;title\x07", b"\xff" * 3))
    return data[:at] + filling + data[at:]


def _delete(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + data[at + random.choice((1, 2, 8, 100)) :]


def _repeat(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    block = data[at : at + random.choice((1, 16, 1000))]
    return data[:at] + block * random.choice((2, 10)) + data[at + len(block) :]


def _zero(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    size = min(random.choice((1, 8, 512)), len(data) - at)
    return data[:at] + bytes(size) + data[at + size :]


def _number(random: Random, data: bytes) -> bytes:
    size = random.choice((1, 2, 4, 8))
    if len(data) < size:
        return data
    offset = random.randrange(len(data) - size + 1)
    return overwrite_number(random, data, offset, size, random.choice(("big", "little")))


def _append(random: Random, data: bytes) -> bytes:
    return data + random.choice((b"\0", random.randbytes(20), data[:1000]))


_CHANGES: tuple[Change, ...] = (
    _flip,
    _flip,
    _flip,
    _truncate,
    _insert,
    _delete,
    _repeat,
    _zero,
    _number,
    _number,
    _append,
)
