"""An artifact whose files have been compared with its manifest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dsunet_export.artifact import check_files
from dsunet_runtime.artifact.manifest import Manifest
from dsunet_runtime.artifact.manifest_file import read_manifest


@dataclass(frozen=True, slots=True)
class CheckedArtifact:
    """An artifact whose files have been compared with its manifest."""

    path: Path
    manifest: Manifest

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the manifest and check the files.  Raises ArtifactError."""
        manifest = read_manifest(path)
        check_files(path, manifest)
        return cls(path, manifest)
