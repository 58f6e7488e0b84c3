"""Messages in protobuf's text format, without the protobuf package.

https://protobuf.dev/reference/protobuf/textformat-spec
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Symbol:
    """A value of an enum, which is written without quotes."""

    name: str


Value: TypeAlias = "str | int | Symbol | tuple[int, ...] | Sequence[TextField]"
"""A tuple of integers is a repeated field, a sequence of fields is a message."""
TextField: TypeAlias = tuple[str, Value]

_UNSAFE = re.compile(r'[\x00-\x1f\x7f"\\]')


def render(message: Sequence[TextField]) -> str:
    """Return a message as text, one field per line."""
    return "".join(f"{line}\n" for line in _lines(message))


def _lines(message: Sequence[TextField], indent: str = "") -> Iterator[str]:
    for name, value in message:
        match value:
            case str():
                yield f"{indent}{name}: {_quoted(value)}"
            case int():
                yield f"{indent}{name}: {value}"
            case Symbol():
                yield f"{indent}{name}: {value.name}"
            case tuple():
                yield f"{indent}{name}: [ {', '.join(map(str, value))} ]"
            case _:
                yield f"{indent}{name} {{"
                yield from _lines(value, indent + "  ")
                yield f"{indent}}}"


def _quoted(text: str) -> str:
    """Quote a string, with other characters than printable ones as octal escapes."""
    escaped = _UNSAFE.sub(lambda match: f"\\{ord(match[0]):03o}", text)
    return f'"{escaped}"'
