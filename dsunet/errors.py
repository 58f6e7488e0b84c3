"""What can go wrong in `dsunet`, and what each class means.

DSUNetError
├── ConfigError          a configuration that describes no network
├── CheckpointError      a weight file that cannot be used as asked
├── DataError            images and masks that are not what they should be
├── TrainingError        a training run that cannot start, or cannot go on
├── EvaluationError      masks or metrics that cannot be had
└── MissingExtraError    an optional dependency that is not installed
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

_LISTED = 20


class DSUNetError(Exception):
    """Base of every error this package raises on purpose; the message names the remedy."""


class ConfigError(DSUNetError):
    """A configuration that describes no network."""


class CheckpointError(DSUNetError):
    """A weight file that is broken, of the wrong kind, or made for another configuration."""


class DataError(DSUNetError):
    """Images and masks that do not pair, cannot be read, or cannot be found or written."""


class TrainingError(DSUNetError):
    """A training run that cannot start as asked, or cannot go on."""


class EvaluationError(DSUNetError):
    """A model that cannot be judged as asked, or a report that cannot be written."""


class MissingExtraError(DSUNetError):
    """An optional dependency is missing; the message holds the install command."""

    @classmethod
    def of(cls, error: ModuleNotFoundError, extra: str) -> Self:
        """For a package that could not be imported, and the extra that brings it."""
        missing = (error.name or "").split(".")[0]
        return cls(f"{missing} is not installed: pip install 'dsunet[{extra}]'")


def listed(line: str, items: Sequence[str]) -> str:
    """The message of an error: a line, and the first items under it."""
    more = [f"and {len(items) - _LISTED} more"] if len(items) > _LISTED else []
    return "\n  ".join([f"{line}:", *items[:_LISTED], *more])
