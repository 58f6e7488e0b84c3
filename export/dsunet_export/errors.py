"""The exceptions of `dsunet_export`.

ExportError
└── VerificationError    the artifact does not compute what the model computes

A package that is not installed is `dsunet_runtime.errors.MissingExtraError`.
"""

from __future__ import annotations


class ExportError(Exception):
    """Base class of the errors of this package; the message contains the remedy."""


class VerificationError(ExportError):
    """The artifact does not compute what the model computes within the tolerance."""
