"""Where the manifest of an artifact is stored: inside an ONNX file, beside an engine."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from dsunet_runtime.artifact.file_kinds import FileKind, is_engine, recognise, why_no_artifact
from dsunet_runtime.artifact.manifest import METADATA_KEY, Manifest
from dsunet_runtime.artifact.onnx_metadata import encode_metadata, read_metadata
from dsunet_runtime.errors import ArtifactError
from dsunet_runtime.files import open_regular
from dsunet_runtime.json_text import MAX_BYTES
from dsunet_runtime.message_text import reason


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read the manifest of an artifact, without reading its weights or loading a backend.

    An ONNX file contains its manifest, at its end.  The manifest of an engine, `NAME.engine` or
    `NAME.plan`, is the file `NAME.engine.json` or `NAME.plan.json` next to it.

        manifest = dsunet_runtime.read_manifest("dsunet.onnx")
        print(manifest.input_form, manifest.precision.compute)

    Args:
        path: ONNX file or TensorRT engine written by `dsunet-export`.

    Returns:
        The manifest, verified against the SHA-256 that it contains.

    Raises:
        ArtifactError: The file cannot be read, is not an artifact, or its manifest is damaged or of
            a format version that this package does not support.
    """
    path = Path(path)
    if is_engine(path):
        return _read_engine_manifest(path)
    document = read_metadata(path).get(METADATA_KEY)
    if document is None:
        if recognise(path) is not FileKind.ONNX:
            raise ArtifactError(f"{path}: {why_no_artifact(path)}")
        raise ArtifactError(
            f"{path}: was not exported by dsunet-export: export its checkpoint with "
            f"`dsunet-export onnx CHECKPOINT -o {shlex.quote(path.name)}`"
        )
    manifest = _decode(path, document)
    if manifest.engine is not None:
        raise ArtifactError(f"{path}: holds the manifest of an engine: export it again")
    _check_end(path, manifest, document)
    return manifest


def encode_manifest(manifest: Manifest) -> bytes:
    """Encode a manifest as the metadata entry at the end of an ONNX artifact."""
    return encode_metadata(METADATA_KEY, manifest.to_json())


def engine_manifest_file(path: Path) -> Path:
    """Return the path of an engine's manifest."""
    return path.with_name(f"{path.name}.json")


def file_size(file: Path, missing: str) -> int:
    """Return the size of a file in bytes.

    Raises ArtifactError if it cannot be opened; `missing` is the message if it does not exist.
    """
    try:
        with open_regular(file) as opened:
            return os.fstat(opened.fileno()).st_size
    except FileNotFoundError as error:
        raise ArtifactError(f"{file}: {missing}") from error
    except OSError as error:
        raise ArtifactError(f"{file}: {reason(error)}") from error


def _read_engine_manifest(path: Path) -> Manifest:
    file = engine_manifest_file(path)
    file_size(path, "no such file")
    try:
        with open_regular(file) as opened:
            document = opened.read(MAX_BYTES + 1).decode("utf-8")
    except FileNotFoundError as error:
        if recognise(path).is_other_model:
            raise ArtifactError(f"{path}: {why_no_artifact(path)}") from error
        raise ArtifactError(
            f"{file}: missing; it describes {path.name}: copy both together, or build the "
            f"engine again with `dsunet-export trt`"
        ) from error
    except OSError as error:
        raise ArtifactError(f"{file}: {reason(error)}") from error
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{file}: the manifest is not readable: not text") from error
    manifest = _decode(file, document)
    if manifest.engine is None:
        raise ArtifactError(
            f"{file}: describes an ONNX file, not an engine: build one with `dsunet-export trt`"
        )
    return manifest


def _check_end(path: Path, manifest: Manifest, document: str) -> None:
    """Check that an ONNX file contains only its manifest after the bytes that the hash covers."""
    expected = encode_metadata(METADATA_KEY, document)
    try:
        with open_regular(path) as file:
            file.seek(manifest.graph.size)
            found = file.read(len(expected) + 1)
    except OSError as error:
        raise ArtifactError(f"{path}: {reason(error)}") from error
    if found != expected:
        raise ArtifactError(
            f"{path}: changed since it was exported (it does not end in its manifest, or the graph "
            f"before that has another size): copy it again, or export again"
        )


def _decode(file: Path, document: str) -> Manifest:
    try:
        return Manifest.from_json(document)
    except ArtifactError as error:
        raise ArtifactError(f"{file}: {error}") from error
