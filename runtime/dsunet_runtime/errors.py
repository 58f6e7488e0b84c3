"""The exceptions of `dsunet_runtime`.

RuntimeFault
├── ArtifactError        the artifact is damaged, incomplete, or of an unsupported format
├── BackendError         the backend is missing, or cannot run the artifact on this machine
├── ImageError           an image or tensor cannot be read, or does not fit the artifact's inputs
├── OutputError          a result cannot be written
├── SelfTestError        the outputs on this machine are outside the self-test's tolerance
└── MissingExtraError    a package that an extra installs cannot be imported
"""

from __future__ import annotations


class RuntimeFault(Exception):  # noqa: N818 - the base class, not an error itself
    """Base class of all exceptions that this package raises deliberately.

    The message is one line.  It names the file or value, and the remedy.
    """


class ArtifactError(RuntimeFault):
    """The artifact is damaged, incomplete, or of a format that this version does not support."""


class BackendError(RuntimeFault):
    """The backend is not installed, or cannot run this artifact on this machine."""


class ImageError(RuntimeFault):
    """An image cannot be read, or an image or tensor has an unsupported size or type."""


class OutputError(RuntimeFault):
    """A result cannot be written to its destination."""


class SelfTestError(RuntimeFault):
    """The outputs of an artifact on this machine are outside the tolerance of its self-test."""


class MissingExtraError(RuntimeFault):
    """An optional package is missing; the message has the command that installs it.

    All three packages raise this class, so that one `except` handles an incomplete installation.
    It derives from neither DSUNetError nor ExportError, because another model, option or file is no
    remedy.
    """
