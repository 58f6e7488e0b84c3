"""Dataclasses from and to plain JSON values: each file format is declared once, as dataclasses."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
import json
import os
import types
import typing
from pathlib import Path
from typing import Annotated, Any, TypeVar

from dsunet_runtime.message_text import printable, quote, shorten

_Kind = TypeVar("_Kind")

SystemText = Annotated[str, "may be a path"]
"""Text that may be a path, and so may not be valid UTF-8."""

KEY = "key"
"""Key of a field's metadata: the field's name in the document, where it is another."""
_BYTES = "bytes"
"""Key of a path that is not valid UTF-8: its bytes in hexadecimal digits."""
_NAMES: dict[Any, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "text",
    Path: "a path",
    SystemText: "text",
}


class FieldError(ValueError):
    """A value does not fit its field; the message names the field and completes a sentence."""


def decode(kind: type[_Kind], values: Any, *, exact: bool, path: str = "") -> _Kind:
    """Convert plain JSON values to a dataclass.

    Fields can be dataclasses, enums, tuples, dicts with text as keys, optionals, paths and plain
    types.

    Args:
        kind: The dataclass, or the type of one field.
        values: The values, as parsed from JSON or returned by `encode`.
        exact: Whether every object must have all fields of its dataclass and no others.  Otherwise,
            fields may be absent if they have a default, and unknown fields are ignored.
        path: Path of `values` in its document, for messages; by default, they are the document.

    Raises:
        FieldError: A field is missing or unknown, or its value does not fit.  The message has the
            path of the field, such as `inputs[0].shape`.
    """
    return typing.cast(_Kind, _decode(kind, values, path, exact))


def encode(value: Any) -> Any:
    """Convert a dataclass to plain JSON values; the inverse of `decode`.

    A path that is not valid UTF-8 becomes an object with its bytes in hexadecimal digits, and so
    does such a value of a `SystemText` field.
    """
    if dataclasses.is_dataclass(value):
        kind: Any = type(value)
        return {one.key: _encode_field(one.kind, getattr(value, one.name)) for one in _fields(kind)}
    if isinstance(value, dict):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    return _encode_text(os.fspath(value)) if isinstance(value, Path) else value


def _encode_field(kind: Any, value: Any) -> Any:
    may_be_path = SystemText in (kind, *typing.get_args(kind))
    return _encode_text(value) if may_be_path and isinstance(value, str) else encode(value)


def _encode_text(text: str) -> Any:
    try:
        text.encode()
    except UnicodeEncodeError:
        return {_BYTES: os.fsencode(text).hex()}
    return text


def _decode(kind: Any, value: Any, path: str, exact: bool) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _decode_object(kind, value, path, exact)
    if origin is dict and isinstance(value, dict):
        return {k: _decode(arguments[1], v, _inside(path, k), exact) for k, v in value.items()}
    if origin is tuple and isinstance(value, list | tuple):
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(value) == len(kinds):
            pairs = enumerate(zip(kinds, value, strict=True))
            return tuple(_decode(of, item, f"{path}[{k}]", exact) for k, (of, item) in pairs)
    if origin in (types.UnionType, typing.Union):
        if type(value) in arguments:
            return value
        present = [argument for argument in arguments if argument is not types.NoneType]
        if len(present) == 1:
            return _decode(present[0], value, path, exact)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        for member in kind:
            if member.value == value:
                return member
    if kind in (Path, SystemText) and (text := _system_text(value)) is not None:
        return Path(text) if kind is Path else text
    if kind is float and type(value) is int:
        return float(value)
    if kind is Any or type(value) is kind:  # a bool is not an int here
        return value
    raise _misfit(kind, value, path)


def _decode_object(kind: Any, value: Any, path: str, exact: bool) -> Any:
    if not isinstance(value, dict):
        raise _misfit(kind, value, path)
    fields = _fields(kind)
    required = {one.key for one in fields if exact or one.is_required}
    if missing := required - value.keys():
        raise FieldError(f"{path or 'it'} lacks {', '.join(sorted(missing))}")
    if exact and (unknown := value.keys() - {one.key for one in fields}):
        raise FieldError(f"{path or 'it'} has unknown fields: {shorten(sorted(unknown))}")
    return kind(
        **{
            one.name: _decode(one.kind, value[one.key], _inside(path, one.key), exact)
            for one in fields
            if one.key in value
        }
    )


class _Field(typing.NamedTuple):
    name: str
    key: str
    """Name in the document."""
    kind: Any
    is_required: bool


@functools.cache
def _fields(kind: Any) -> tuple[_Field, ...]:
    hints = typing.get_type_hints(kind, include_extras=True)
    absent = dataclasses.MISSING
    return tuple(
        _Field(
            field.name,
            field.metadata.get(KEY, field.name),
            hints[field.name],
            field.default is absent and field.default_factory is absent,
        )
        for field in dataclasses.fields(kind)
    )


def _system_text(value: Any) -> str | None:
    """Return the text of a value written by `encode`; None if it is not text."""
    if isinstance(value, dict) and value.keys() == {_BYTES}:
        with contextlib.suppress(ValueError, TypeError):
            return os.fsdecode(bytes.fromhex(value[_BYTES]))
    return value if isinstance(value, str) else None


def _inside(path: str, name: str) -> str:
    shown = printable(name, 40)
    return f"{path}.{shown}" if path else shown


def _misfit(kind: Any, value: Any, path: str) -> FieldError:
    in_json = functools.partial(json.dumps, ensure_ascii=False, default=str)
    found = quote(value) if isinstance(value, str) else printable(in_json(value), 80)
    return FieldError(f"{path or 'it'} is {found}, not {_name(kind)}")


def _name(kind: Any) -> str:
    """Return the description of a type for messages."""
    if kind in _NAMES:
        return _NAMES[kind]
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return f"one of {', '.join(member.value for member in kind)}"
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        return "a list" if arguments[-1] is Ellipsis else f"a list of {len(arguments)}"
    return " or ".join(map(_name, arguments)) if origin is types.UnionType else "an object"
