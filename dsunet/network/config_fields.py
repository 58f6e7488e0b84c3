"""Ranges of the numbers in a configuration."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from dsunet.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def bounded_field(default: Any, largest: int, smallest: int = 1) -> Any:
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


def _figure(number: int) -> str:
    """Format an integer; Python refuses to print one of thousands of digits."""
    return f"{number:,}" if abs(number) < 1 << 64 else "an integer of more than 64 bits"
