"""What the folders of all servers have in common: artifacts, names and staging."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dsunet_export.errors import ExportError
from dsunet_runtime.artifact.integrity import check_hashes, check_sizes, check_weights_files
from dsunet_runtime.artifact.manifest import Manifest
from dsunet_runtime.artifact.manifest_file import read_manifest
from dsunet_runtime.files import staging_folder
from dsunet_runtime.message_text import quote, reason

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file whose content was compared with its manifest."""

    path: Path
    manifest: Manifest

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check an artifact.  Raises ArtifactError."""
        manifest = read_manifest(path)
        check_sizes(path, manifest)
        check_hashes(path, manifest)
        if manifest.engine is None:
            check_weights_files(path, manifest)
        return cls(path, manifest)


def check_model_name(name: str) -> None:
    """Raise ExportError unless servers can have a model of a name, as in URLs and pipelines."""
    if not _NAME.fullmatch(name):
        raise ExportError(
            f"{quote(name)} cannot be the name of a model: choose another with --name, of up to "
            f"128 letters from a to z, digits, dots, hyphens and underscores"
        )


@contextmanager
def staging(parent: Path) -> Iterator[Path]:
    """Provide a temporary folder in another, which is made if need be.  Raises ExportError."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with staging_folder(parent) as folder:
            yield folder
    except OSError as error:
        raise ExportError(f"cannot write to {parent}: {reason(error)}") from error
