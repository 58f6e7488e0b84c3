"""Configuration fields: ranges of their numbers, and reading them from JSON."""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

from dsunet.errors import ConfigError
from dsunet_runtime.message_text import printable, quote, shorten

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_Config = TypeVar("_Config", bound="DataclassInstance")


def number(default: Any, largest: int, smallest: int = 1) -> Any:
    """A dataclass field for a number, or a tuple of numbers, from `smallest` to `largest`."""
    return dataclasses.field(default=default, metadata={"range": (smallest, largest)})


def check_ranges(config: DataclassInstance, prefix: str = "") -> None:
    """Raise ConfigError if a number is outside its range."""
    for field in dataclasses.fields(config):
        if "range" not in field.metadata:
            continue
        low, high = field.metadata["range"]
        value = getattr(config, field.name)
        numbers = value if isinstance(value, tuple) else (value,)
        if len(numbers) > high:
            raise ConfigError(f"{prefix}{field.name} has {len(numbers):,} numbers: give fewer")
        outside = [n for n in numbers if not low <= n <= high]
        if outside:
            raise ConfigError(
                f"{prefix}{field.name} has {_figure(outside[0])}: it must be from {low} to {high:,}"
            )


def from_dict(cls: type[_Config], values: Any, where: str) -> _Config:
    """Read a configuration from the values that `dataclasses.asdict` returned.

    `where` names the configuration in messages.  Raises ConfigError if the values are invalid.
    """
    hints = get_type_hints(cls)
    if not isinstance(values, dict):
        raise ConfigError(f"{where} is {printable(values)}, not a JSON object")
    fields = {field.name: hints[field.name] for field in dataclasses.fields(cls)}
    if missing := fields.keys() - values:
        raise ConfigError(f"{where} lacks {', '.join(sorted(missing))}")
    if unknown := values.keys() - fields:
        raise ConfigError(f"{where} has unknown fields: {shorten(sorted(map(str, unknown)))}")
    return cls(**{name: _read(hint, values[name], name) for name, hint in fields.items()})


def _read(hint: Any, value: Any, name: str) -> Any:
    """Convert a value from JSON to the type of its field."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return from_dict(hint, value, name)
    if isinstance(hint, type) and issubclass(hint, enum.Enum) and value in list(hint):
        return hint(value)
    if hint is int and type(value) is int:
        return value
    if get_origin(hint) is tuple and isinstance(value, list | tuple):
        of_any_length = Ellipsis in get_args(hint)
        if (of_any_length or len(value) == len(get_args(hint))) and all(
            type(item) is int for item in value
        ):
            return tuple(value)
    expected = str(hint) if get_origin(hint) else hint.__name__
    raise ConfigError(f"{name} is {_words(value)}, which is not of type {expected}")


def _words(value: Any) -> str:
    return quote(value) if isinstance(value, str) else printable(value)


def _figure(number: int) -> str:
    """Format an integer; Python refuses to print one of thousands of digits."""
    return f"{number:,}" if abs(number) < 1 << 64 else "an integer of more than 64 bits"
