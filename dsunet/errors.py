"""Exceptions of `dsunet`.

DSUNetError
├── ConfigError          invalid network configuration
├── CheckpointError      unusable weight file
│   └── MissingEncodersError  without encoders, and no files were given for them
├── DataError            unusable images or masks
├── TrainingError        training run that cannot start or continue
└── EvaluationError      evaluation that cannot be done

A package that is not installed is `dsunet_runtime.errors.MissingExtraError`.
"""

from __future__ import annotations

from collections.abc import Sequence

_MAX_LISTED = 20


class DSUNetError(Exception):
    """Base class of this package's errors; each message contains the remedy."""


class ConfigError(DSUNetError):
    """The configuration of a network is invalid."""


class CheckpointError(DSUNetError):
    """A weight file is damaged, of the wrong kind, or made for another configuration."""


class MissingEncodersError(CheckpointError):
    """A checkpoint has no encoders, and not all of their files were given."""

    def __init__(self, message: str, files: tuple[str, ...]) -> None:
        super().__init__(message)
        self.files = files
        """The arguments of `load_model` for the files that it needs."""


class DataError(DSUNetError):
    """Images and masks cannot be found, read, paired or written."""


class TrainingError(DSUNetError):
    """A training run cannot start with its options, or cannot continue."""


class EvaluationError(DSUNetError):
    """A model or masks cannot be evaluated, or a report cannot be written."""


def message_with_list(line: str, items: Sequence[str]) -> str:
    """An error message: a line, and the first items of a list below it."""
    more = [f"and {len(items) - _MAX_LISTED} more"] if len(items) > _MAX_LISTED else []
    return "\n  ".join([f"{line}:", *items[:_MAX_LISTED], *more])
