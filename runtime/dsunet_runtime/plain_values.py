"""Conversion of plain JSON values to annotated types."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from typing import Any

from dsunet_runtime.message_text import quote


def decode(kind: Any, value: Any) -> Any:
    """Convert a value to an annotated type.

    Supported are dataclasses, enums, tuples, dicts, optionals and plain types.  Raises TypeError or
    ValueError if the value does not fit.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        unknown = _items(value).keys() - hints.keys()
        if unknown:
            raise ValueError(f"unknown field {quote(min(unknown))}")
        return typing.cast(Any, kind)(**{k: decode(hints[k], v) for k, v in value.items()})
    if origin is tuple:
        if not isinstance(value, list):
            raise TypeError(f"{quote(value)} is not a list")
        if arguments[-1] is Ellipsis:
            return tuple(decode(arguments[0], v) for v in value)
        if len(value) != len(arguments):
            raise ValueError(f"{quote(value)} does not have {len(arguments)} elements")
        return tuple(decode(a, v) for a, v in zip(arguments, value, strict=True))
    if origin is dict:
        return {k: decode(arguments[1], v) for k, v in _items(value).items()}
    if origin is types.UnionType:
        if type(value) in arguments:
            return value
        present = [a for a in arguments if a is not types.NoneType]
        if value is None or len(present) != 1:
            raise TypeError(f"{quote(value)} is none of {kind}")
        return decode(present[0], value)
    if kind is Any:
        return value
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _member(kind, value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:  # a bool is no int here
        raise TypeError(f"{quote(value)} is no {kind.__name__}")
    return value


def _member(kind: type[enum.Enum], value: Any) -> enum.Enum:
    for member in kind:
        if member.value == value:
            return member
    raise ValueError(f"{quote(value)} is no {kind.__name__}")


def _items(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{quote(value)} is no object")
    return value
