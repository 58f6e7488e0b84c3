"""The exceptions of `dsunet_export`.

ExportError
├── VerificationError    the artifact does not compute what the model computes
└── MissingExtraError    an optional dependency that is not installed
"""

from __future__ import annotations


class ExportError(Exception):
    """Base class of the errors of this package; the message says what to do."""


class VerificationError(ExportError):
    """The artifact does not compute what the model computes within the tolerance."""


class MissingExtraError(ExportError):
    """An optional dependency is missing; the message has the command that installs it."""
