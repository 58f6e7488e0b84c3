"""Values that callers name by text, such as `provider="cuda"`."""

from __future__ import annotations

import enum
from typing import TypeVar

from dsunet_runtime.errors import RuntimeFault
from dsunet_runtime.message_text import quote

_Choice = TypeVar("_Choice", bound=enum.StrEnum)


def one_of(kind: type[_Choice], name: str, value: str, error: type[RuntimeFault]) -> _Choice:
    """Return the member of an enumeration by its value; raise `error` if there is none.

    `name` is what the message calls the enumeration.
    """
    try:
        return kind(value)
    except ValueError as cause:
        known = ", ".join(kind)
        raise error(f"unknown {name} {quote(value)}: use one of {known}") from cause
