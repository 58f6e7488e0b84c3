"""What can go wrong in `dsunet`, and what each class means.

DSUNetError
├── ConfigError          a configuration that describes no network
├── CheckpointError      a weight file that cannot be used as asked
└── MissingExtraError    an optional dependency that is not installed
"""

from __future__ import annotations


class DSUNetError(Exception):
    """Base of every error this package raises on purpose; the message names the remedy."""


class ConfigError(DSUNetError):
    """A configuration that describes no network."""


class CheckpointError(DSUNetError):
    """A weight file that is broken, of the wrong kind, or made for another configuration."""


class MissingExtraError(DSUNetError):
    """An optional dependency is missing; the message holds the install command."""
