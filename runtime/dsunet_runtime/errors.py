"""What can go wrong in `dsunet_runtime`, and what each class means.

RuntimeFault
├── ArtifactError        the artifact is broken, incomplete, or of a format not known here
├── BackendError         the backend is missing, or cannot run this artifact on this machine
├── ImageError           an image or a tensor of them cannot be read, or is not what is taken
└── OutputError          a result cannot be written where it should go
"""

from __future__ import annotations


class RuntimeFault(Exception):  # noqa: N818 - the base of the errors, not one itself
    """Base of every error this package raises on purpose; the message names the remedy."""


class ArtifactError(RuntimeFault):
    """The artifact is broken, incomplete, or of a format this version does not know."""


class BackendError(RuntimeFault):
    """The backend is not installed, or cannot run this artifact on this machine."""


class ImageError(RuntimeFault):
    """An image cannot be read, or it or a tensor is not of the size or type that is taken."""


class OutputError(RuntimeFault):
    """A result cannot be written where it should go."""
