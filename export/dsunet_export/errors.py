"""What can go wrong in `dsunet_export`, and what each class means.

ExportError
├── VerificationError    the artifact does not compute what the model computes
└── MissingExtraError    an optional dependency that is not installed
"""

from __future__ import annotations


class ExportError(Exception):
    """Base of every error this package raises on purpose; the message names the remedy."""


class VerificationError(ExportError):
    """The artifact does not compute what the model computes, within the tolerance."""


class MissingExtraError(ExportError):
    """An optional dependency is missing; the message holds the install command."""


def missing_package(error: ModuleNotFoundError) -> str:
    """The top-level package that an import did not find."""
    return str(error.name).partition(".")[0]
