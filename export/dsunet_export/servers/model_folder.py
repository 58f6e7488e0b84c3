"""Names of models, and folders of models that are written completely or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dsunet_export.errors import ExportError
from dsunet_runtime.files import staging_folder
from dsunet_runtime.message_text import quote, reason

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


def check_model_name(name: str) -> None:
    """Raise ExportError unless servers can have a model of a name, as in URLs and pipelines."""
    if not _NAME.fullmatch(name):
        raise ExportError(
            f"{quote(name)} cannot be the name of a model: choose another with --name, of up to "
            f"128 letters from a to z, digits, dots, hyphens and underscores"
        )


@contextmanager
def model_staging(parent: Path) -> Iterator[Path]:
    """Provide a temporary folder in another, which is created if missing.

    The caller moves the finished files out of it.  Raises ExportError if a folder or, in this
    context, a file cannot be written.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with staging_folder(parent) as folder:
            yield folder
    except OSError as error:
        raise ExportError(f"cannot write to {parent}: {reason(error)}") from error
