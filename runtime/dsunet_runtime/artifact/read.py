"""An artifact on disk: its manifest, and integrity checks of the files that belong to it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from dsunet_runtime.artifact.file_kinds import FileKind, is_engine, recognise, why_no_artifact
from dsunet_runtime.artifact.manifest import METADATA_KEY, Engine, FileDigest, Manifest, digest
from dsunet_runtime.artifact.onnx_metadata import encode_metadata, read_metadata
from dsunet_runtime.artifact.onnx_weights import external_files
from dsunet_runtime.errors import ArtifactError
from dsunet_runtime.files import open_regular
from dsunet_runtime.json_text import MAX_BYTES
from dsunet_runtime.message_text import quote, reason


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


def check_sizes(path: Path, manifest: Manifest) -> None:
    """Raise ArtifactError unless every file of the artifact exists and has the expected size."""
    if manifest.engine is not None:
        _check_engine_size(path, manifest.engine)
        if manifest.engine.weights_stripped:
            check_sizes(*_weights_source(path, manifest))
        return
    for expected in manifest.files:
        file = path.with_name(expected.name)
        size = _size(
            file, f"missing; {path.name} stores its weights in it: copy or move both together"
        )
        if size != expected.size:
            raise ArtifactError(
                f"{file}: has {size} bytes and {path.name} was exported with one of "
                f"{expected.size}: cut short or replaced; copy it again, or export again"
            )


def check_hashes(path: Path, manifest: Manifest) -> None:
    """Raise ArtifactError unless the SHA-256 of every file of the artifact is the expected one.

    This reads all files completely; run it in a thread, in parallel with other work.
    """
    if manifest.engine is not None:
        _check_engine_hash(path, manifest.engine)
        if manifest.engine.weights_stripped:
            graph, graph_manifest = _weights_source(path, manifest)
            check_hashes(graph, graph_manifest)
            check_weights_files(graph, graph_manifest)  # before TensorRT opens these files
        return
    if _digest(path, manifest.graph.size).sha256 != manifest.graph.sha256:
        raise ArtifactError(
            f"{path}: damaged, or changed since it was exported (its SHA-256 differs): copy it "
            f"again, or export again"
        )
    for expected in manifest.files:
        file = path.with_name(expected.name)
        if _digest(file).sha256 != expected.sha256:
            raise ArtifactError(
                f"{file}: not the file that {path.name} was exported with (its SHA-256 differs): "
                f"damaged or replaced; copy it again, or export again"
            )


def weights_files(path: Path, manifest: Manifest) -> dict[str, Path]:
    """Map the names of external weights files in the manifest to their paths.

    The names contain no folders; `bounds` checks that when a manifest is read.
    """
    return {file.name: path.with_name(file.name) for file in manifest.files}


def check_weights_files(path: Path, manifest: Manifest) -> None:
    """Raise ArtifactError if the graph reads weights from files that the manifest does not name."""
    strangers = external_files(path) - weights_files(path, manifest).keys()
    if strangers:
        raise ArtifactError(
            f"{path}: its graph reads weights from {quote(min(strangers))}, which its manifest "
            f"does not name: changed since it was exported; export it again"
        )


def weights_source(path: Path, manifest: Manifest) -> Path:
    """Return the ONNX file that contains the weights of a weight-stripped engine.

    Raises ArtifactError unless the file is next to the engine and its manifest has the size and the
    SHA-256 of the graph that the engine was built from.  `check_hashes` verifies the content.
    """
    graph, _ = _weights_source(path, manifest)
    return graph


def _weights_source(path: Path, manifest: Manifest) -> tuple[Path, Manifest]:
    """Like `weights_source`, together with the manifest of that ONNX file."""
    graph = path.with_name(manifest.graph.name)
    _size(
        graph,
        f"missing; {path.name} was built without weights and reads them from it: copy both "
        f"together, or build without `--strip-weights`",
    )
    found, expected = read_manifest(graph), manifest.graph
    if (found.graph.size, found.graph.sha256, found.engine) != (
        expected.size,
        expected.sha256,
        None,
    ):
        raise ArtifactError(
            f"{graph}: not the file that {path.name} was built from and reads its weights from: "
            f"copy the right one next to it, or build the engine again with `dsunet-export trt`"
        )
    return graph, found


def _read_engine_manifest(path: Path) -> Manifest:
    file = engine_manifest_file(path)
    _size(path, "no such file")
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


def _check_engine_size(path: Path, engine: Engine) -> None:
    size = _size(path, "no such file")
    if size != engine.file.size:
        raise ArtifactError(
            f"{path}: has {size} bytes and {engine_manifest_file(path).name} describes an engine "
            f"of {engine.file.size}: cut short, or another engine; copy both again, or build again"
        )


def _check_engine_hash(path: Path, engine: Engine) -> None:
    if _digest(path).sha256 != engine.file.sha256:
        raise ArtifactError(
            f"{path}: not the engine that {engine_manifest_file(path).name} describes (its "
            f"SHA-256 differs): damaged, or another engine; copy both again, or build again"
        )


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


def _size(file: Path, missing: str) -> int:
    """Return the size of a file; `missing` is the message if it does not exist."""
    try:
        with open_regular(file) as opened:
            return os.fstat(opened.fileno()).st_size
    except FileNotFoundError as error:
        raise ArtifactError(f"{file}: {missing}") from error
    except OSError as error:
        raise ArtifactError(f"{file}: {reason(error)}") from error


def _digest(file: Path, size: int | None = None) -> FileDigest:
    try:
        return digest(file, size)
    except OSError as error:
        raise ArtifactError(f"{file}: {reason(error)}") from error
