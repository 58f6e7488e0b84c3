"""Files as bad disks, networks and copying leave them: seeded, and aimed at their structure too."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def damaged(content: bytes, count: int, seed: int, structure: int = 2048) -> Iterator[bytes]:
    """`count` versions of a file, all of them different from it.

    Every other one is damaged within the first or the last `structure` bytes, where names, types,
    shapes and checksums are.
    """
    generator = np.random.default_rng(seed)
    made = 0
    while made < count:
        size = len(content)
        near = min(structure, size)
        place = int(generator.integers(near if made % 2 else size))
        if made % 4 == 3:
            place = size - 1 - place
        kind = _KINDS[int(generator.integers(len(_KINDS)))]
        result = kind(content, place, generator)
        if result != content:
            made += 1
            yield result


def _bit(content: bytes, place: int, generator: np.random.Generator) -> bytes:
    flipped = bytes([content[place] ^ 1 << int(generator.integers(8))])
    return content[:place] + flipped + content[place + 1 :]


def _byte(content: bytes, place: int, generator: np.random.Generator) -> bytes:
    return content[:place] + generator.bytes(1) + content[place + 1 :]


def _digit(content: bytes, place: int, generator: np.random.Generator) -> bytes:
    """Another digit for the next one: sizes, versions, offsets."""
    found = next((k for k in range(place, len(content)) if content[k : k + 1].isdigit()), place)
    return content[:found] + b"%d" % generator.integers(10) + content[found + 1 :]


def _truncated(content: bytes, place: int, generator: np.random.Generator) -> bytes:
    return content[:place]


def _extended(content: bytes, place: int, generator: np.random.Generator) -> bytes:
    return content + content[place : place + 100]


def _zeroed(content: bytes, place: int, generator: np.random.Generator) -> bytes:
    length = min(int(generator.integers(1, 600)), len(content) - place)
    return content[:place] + bytes(length) + content[place + length :]


def _swapped(content: bytes, place: int, generator: np.random.Generator) -> bytes:
    """Two neighbouring pieces in the other order."""
    length = int(generator.integers(1, 300))
    one = content[place : place + length]
    other = content[place + length : place + 2 * length]
    return content[:place] + other + one + content[place + len(one) + len(other) :]


def _dropped(content: bytes, place: int, generator: np.random.Generator) -> bytes:
    return content[:place] + content[place + int(generator.integers(1, 50)) :]


_KINDS = (_bit, _bit, _byte, _digit, _truncated, _extended, _zeroed, _swapped, _dropped)
