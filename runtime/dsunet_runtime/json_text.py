"""Strict parsing of untrusted JSON, within bounds.

Stricter than `json.loads`: it rejects NaN and infinity, numbers out of range of 64-bit integers and
floats, duplicate keys, lone surrogates, and deep nesting.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NoReturn

from dsunet_runtime.message_text import printable, quote

MAX_BYTES = 64 << 20
MAX_DEPTH = 32

_MAX_DIGITS = 20
_LOWEST, _HIGHEST = -(1 << 63), (1 << 64) - 1


class JsonError(ValueError):
    """The text is not JSON or exceeds a bound; the message completes a sentence about it."""


def parse_json(text: str | bytes) -> Any:
    """Parse a JSON document, given as text or as UTF-8.  Raises JsonError."""
    if len(text) > MAX_BYTES:
        raise JsonError(f"has {len(text):,} bytes; the limit is {MAX_BYTES:,}")
    try:
        value = json.loads(
            text if isinstance(text, str) else text.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_constant,
        )
    except JsonError:
        raise
    except UnicodeDecodeError as error:
        raise JsonError("is not UTF-8 text") from error
    except RecursionError as error:
        raise JsonError(_too_deep()) from error
    except ValueError as error:
        raise JsonError(f"is not JSON: {printable(error)}") from error
    _check(value)
    return value


def parse_object(text: str | bytes) -> dict[str, Any]:
    """Parse a JSON document that must be an object.  Raises JsonError."""
    value = parse_json(text)
    if not isinstance(value, dict):
        raise JsonError(f"is a {type(value).__name__}, not an object")
    return value


def _check(value: Any) -> None:
    """Check nesting depth and that text can be encoded, without recursion."""
    level, depth = [value], 0
    while level:
        inside: list[Any] = []
        for item in level:
            if isinstance(item, dict | list) and depth == MAX_DEPTH:
                raise JsonError(_too_deep())
            if isinstance(item, dict):
                inside += item.keys()
                inside += item.values()
            elif isinstance(item, list):
                inside += item
            elif isinstance(item, str) and not item.isascii():
                _check_encodes(item)
        level, depth = inside, depth + 1


def _check_encodes(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise JsonError(f"contains text that is not Unicode: {quote(text)}") from error


def _too_deep() -> str:
    return f"is nested more than {MAX_DEPTH} levels deep"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise JsonError(f"has the key {quote(twice)} twice in one object")
    return result


def _integer(digits: str) -> int:
    if len(digits) <= _MAX_DIGITS:
        value = int(digits)
        if _LOWEST <= value <= _HIGHEST:
            return value
    raise JsonError(f"contains an integer beyond 64 bits: {printable(digits, _MAX_DIGITS)}")


def _float(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise JsonError(
            f"contains a number too large for a float: {printable(digits, _MAX_DIGITS)}"
        )
    return value


def _constant(name: str) -> NoReturn:
    raise JsonError(f"contains {name}, which is not JSON")
