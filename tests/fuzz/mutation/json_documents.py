"""Changes to JSON documents: other types and sizes, fields left out or repeated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any

from tests.fuzz.mutation.byte_changes import change_bytes, change_list

HOSTILE_TEXTS = (
    "",
    " ",
    "\0",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "two\nlines\r\n",
    "\u202eright to left",
    "\ud800",
    "../a.onnx",
    "/dev/zero",
    "~",
    "%s%n{0}{x}",
    "x" * 300,
    "x" * 100_000,
)
"""Texts that a message must not repeat unchanged."""

_NUMBERS = (
    "0",
    "-0",
    "-1",
    "1",
    "2",
    "0.5",
    "1e-400",
    "1e999",
    "-1e999",
    "NaN",
    "Infinity",
    "-Infinity",
    str(2**31),
    str(2**63),
    str(-(2**63) - 1),
    "9" * 25,
    "1" + "0" * 308,
    "1" + "0" * 5000,
    "1" + "0" * 18,
)


class Literal(str):
    """Text that is written into the document unchanged."""

    __slots__ = ()


class Pairs(list[list[Any]]):
    """An object as its [key, value] pairs; keys may repeat."""


def change_json(random: Random, data: bytes) -> bytes:
    """Change one or a few values, fields or characters of a document in UTF-8."""
    if random.random() < 0.2:
        return random.choice((change_bytes, _change_text))(random, data)
    try:
        document = parse(data.decode())
        for _ in range(random.choice((1, 1, 1, 2, 4))):
            document = change_value(random, document)
        indent = "\n" if b"\n" in data else ""
        return write(document, indent).encode(errors="surrogatepass")
    except (ValueError, RecursionError):  # a change before this one nested it deeply
        return change_bytes(random, data)


def parse(text: str) -> Any:
    """Parse a document; its objects are `Pairs`."""
    return json.loads(text, object_pairs_hook=lambda pairs: Pairs(map(list, pairs)))


def write(value: Any, separator: str = "") -> str:
    """Write a value of `parse`, with each `Literal` unchanged."""
    if isinstance(value, Literal):
        return str(value)
    if isinstance(value, Pairs):
        fields = (f"{json.dumps(key)}: {write(item, separator)}" for key, item in value)
        return "{" + f",{separator} ".join(fields) + "}"
    if isinstance(value, list):
        return "[" + f",{separator} ".join(write(item, separator) for item in value) + "]"
    return json.dumps(value)


def change_value(random: Random, document: Any) -> Any:
    """Change one of the document's values, each with the same probability."""
    root = [document]
    container, index = random.choice(list(_places(root)))
    container[index] = _other(random, container[index])
    return root[0]


def _places(container: Any) -> Iterator[tuple[Any, int]]:
    """Yield every list or pair with the index of a value in it."""
    for index, value in enumerate(container):
        if isinstance(value, Pairs):
            yield container, index
            for pair in value:
                yield from ((c, i) for c, i in _places(pair) if c is not pair or i == 1)
        else:
            yield container, index
            if isinstance(value, list):
                yield from _places(value)


def _other(random: Random, value: Any) -> Any:
    if random.random() < 0.4:
        return hostile_value(random)
    if isinstance(value, Pairs):
        return _other_object(random, value)
    if isinstance(value, list):
        return change_list(random, value)
    if isinstance(value, bool) or value is None:
        return random.choice((True, False, None, 0, 1, "true"))
    if isinstance(value, int | float):
        return random.choice((value + 1, value * 2, -value, value / 2, str(value), [value], 0))
    return _other_text(random, str(value))


def _other_object(random: Random, value: Pairs) -> Pairs:
    match random.randrange(4):
        case 0 if value:
            key, _ = random.choice(value)
            return Pairs([*value, [key, hostile_value(random)]])
        case 1:
            return Pairs([*value, [random.choice(HOSTILE_TEXTS), hostile_value(random)]])
        case 2 if value:
            changed = Pairs([list(pair) for pair in value])
            random.choice(changed)[0] = random.choice(HOSTILE_TEXTS)
            return changed
        case _:
            return Pairs(change_list(random, value))


def _other_text(random: Random, text: str) -> Any:
    match random.randrange(4):
        case 0:
            return random.choice(HOSTILE_TEXTS)
        case 1:
            return text + random.choice(HOSTILE_TEXTS)
        case 2 if text:
            at = random.randrange(len(text))
            return text[:at] + random.choice("0aZ./\0é") + text[at + 1 :]
        case _:
            return text[: random.randrange(len(text) + 1)]


def hostile_value(random: Random) -> Any:
    """Return a value that no field should have."""
    depth = random.choice((50, 500, 3000, 100_000))
    return random.choice(
        (
            Literal(random.choice(_NUMBERS)),
            Literal(random.choice(_NUMBERS)),
            random.choice(HOSTILE_TEXTS),
            random.choice((None, True, False, [], Pairs())),
            Literal("[" * depth + "]" * depth),
            Literal('{"a":' * depth + "0" + "}" * depth),
            Literal("[" + ",".join("0" * 10_000) + "]"),
        )
    )


def _change_text(random: Random, data: bytes) -> bytes:
    """Make text that is almost JSON."""
    match random.randrange(5):
        case 0:
            return b"\xef\xbb\xbf" + data
        case 1:
            return data.replace(b'"', b"'")
        case 2:
            return data + random.choice((data, b"{}", b" //", b"\0"))
        case 3:
            return data.decode(errors="replace").encode("utf-16")
        case _:
            return data.replace(b",", b",,", 1)
