"""An artifact on disk: its manifest, and whether the files beside it are the right ones."""

from __future__ import annotations

import os
from pathlib import Path

from dsunet_runtime.errors import ArtifactError
from dsunet_runtime.manifest import METADATA_KEY, FileDigest, Manifest, digest
from dsunet_runtime.onnx_metadata import read_metadata


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """The manifest of an exported ONNX file, without reading its weights or loading a backend.

    Raises ArtifactError if the file cannot be read, is no ONNX file or has no manifest that this
    version reads.
    """
    path = Path(path)
    document = read_metadata(path).get(METADATA_KEY)
    if document is None:
        raise ArtifactError(
            f"{path}: was not exported by dsunet-export; export it with `dsunet-export onnx`"
        )
    try:
        return Manifest.from_json(document)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error


def check_sizes(path: Path, manifest: Manifest) -> None:
    """Raise ArtifactError unless every file of the artifact at `path` lies beside it, whole."""
    for expected in manifest.files:
        file = _beside(path, expected)
        if not file.is_file():
            raise ArtifactError(
                f"{file}: missing; {path.name} keeps weights in it, so move or copy both together"
            )
        size = file.stat().st_size
        if size != expected.size:
            raise ArtifactError(
                f"{file}: has {size} bytes and {path.name} was exported with one of "
                f"{expected.size}: cut short or exchanged; copy it again, or export again"
            )


def check_hashes(path: Path, manifest: Manifest) -> None:
    """Raise ArtifactError unless the artifact and what is beside it are as they were exported.

    Reads all of them: let it run in a thread beside the creation of the session.
    """
    if _digest(path, manifest.graph.size).sha256 != manifest.graph.sha256:
        raise ArtifactError(
            f"{path}: damaged, or changed since it was exported (its SHA-256 differs): copy it "
            f"again, or export again"
        )
    for expected in manifest.files:
        file = _beside(path, expected)
        if _digest(file).sha256 != expected.sha256:
            raise ArtifactError(
                f"{file}: not the file that {path.name} was exported with (its SHA-256 differs): "
                f"damaged or exchanged; copy it again, or export again"
            )


def _digest(file: Path, size: int | None = None) -> FileDigest:
    try:
        return digest(file, size)
    except OSError as error:
        raise ArtifactError(f"{file}: {error.strerror}") from error


def _beside(path: Path, file: FileDigest) -> Path:
    if file.name in ("", "..") or file.name != Path(file.name).name:
        raise ArtifactError(
            f"{path}: its manifest names {file.name!r}, which is no plain file name"
        )
    return path.with_name(file.name)
