"""An artifact on disk: its manifest, and whether the files beside it are the right ones."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from dsunet_runtime.errors import ArtifactError
from dsunet_runtime.file_kinds import FileKind, is_engine, recognise, why_no_artifact
from dsunet_runtime.files import open_regular
from dsunet_runtime.json_text import MAX_BYTES
from dsunet_runtime.manifest import METADATA_KEY, Engine, FileDigest, Manifest, digest
from dsunet_runtime.message_text import quote, reason
from dsunet_runtime.onnx_metadata import encode_metadata, read_metadata
from dsunet_runtime.onnx_weights import external_files


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """The manifest of an artifact, without reading its weights or loading a backend.

    An ONNX file ends in its own; that of an engine, `NAME.engine` or `NAME.plan`, lies beside it
    with `.json` behind its name.  The manifest is checked against the digest that it carries.
    Raises ArtifactError if the file cannot be read, is no ONNX file, or has no manifest that this
    version reads.
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
    """What an ONNX artifact ends in: its manifest as an entry of metadata."""
    return encode_metadata(METADATA_KEY, manifest.to_json())


def engine_manifest_file(path: Path) -> Path:
    """Where the manifest of the engine `path` lies."""
    return path.with_name(f"{path.name}.json")


def check_sizes(path: Path, manifest: Manifest) -> None:
    """Raise ArtifactError unless every file of the artifact at `path` lies beside it, whole."""
    if manifest.engine is not None:
        _check_engine_size(path, manifest.engine)
        if manifest.engine.weights_stripped:
            check_sizes(*_weights_source(path, manifest))
        return
    for expected in manifest.files:
        file = path.with_name(expected.name)
        size = _size(
            file, f"missing; {path.name} keeps weights in it, so move or copy both together"
        )
        if size != expected.size:
            raise ArtifactError(
                f"{file}: has {size} bytes and {path.name} was exported with one of "
                f"{expected.size}: cut short or exchanged; copy it again, or export again"
            )


def check_hashes(path: Path, manifest: Manifest) -> None:
    """Raise ArtifactError unless the artifact and what is beside it are as they were exported.

    Reads all of them: let it run in a thread beside what else there is to do.
    """
    if manifest.engine is not None:
        _check_engine_hash(path, manifest.engine)
        if manifest.engine.weights_stripped:
            graph, graph_manifest = _weights_source(path, manifest)
            check_hashes(graph, graph_manifest)
            check_weights_files(graph, graph_manifest)  # before TensorRT opens them
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
                f"damaged or exchanged; copy it again, or export again"
            )


def weights_files(path: Path, manifest: Manifest) -> dict[str, Path]:
    """The files beside the ONNX artifact at `path` that hold weights, by the names it has for them.

    A manifest that was read has plain names only.
    """
    return {file.name: path.with_name(file.name) for file in manifest.files}


def check_weights_files(path: Path, manifest: Manifest) -> None:
    """Raise ArtifactError if the graph at `path` reads weights from files of other names."""
    strangers = external_files(path) - weights_files(path, manifest).keys()
    if strangers:
        raise ArtifactError(
            f"{path}: its graph reads weights from {quote(min(strangers))}, which its manifest "
            f"does not name: changed since it was exported; export it again"
        )


def weights_source(path: Path, manifest: Manifest) -> Path:
    """The ONNX file with the weights of the stripped engine at `path`.

    Raises ArtifactError unless it lies beside the engine and says of itself that it is the file
    that the engine was built from; whether that is true, `check_hashes` finds out.
    """
    graph, _ = _weights_source(path, manifest)
    return graph


def _weights_source(path: Path, manifest: Manifest) -> tuple[Path, Manifest]:
    """The same, with that file's own manifest."""
    graph = path.with_name(manifest.graph.name)
    _size(
        graph,
        f"missing; {path.name} was built without weights and takes them from it, so copy both "
        f"together, or build without `--strip-weights`",
    )
    found, expected = read_manifest(graph), manifest.graph
    if (found.graph.size, found.graph.sha256, found.engine) != (
        expected.size,
        expected.sha256,
        None,
    ):
        raise ArtifactError(
            f"{graph}: not the file that {path.name} was built from and takes its weights from: "
            f"copy that one beside it, or build the engine again with `dsunet-export trt`"
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
            f"{file}: missing; it describes {path.name}, so copy both together, or build the "
            f"engine again with `dsunet-export trt`"
        ) from error
    except OSError as error:
        raise ArtifactError(f"{file}: {reason(error)}") from error
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{file}: the manifest is not readable: not text") from error
    manifest = _decode(file, document)
    if manifest.engine is None:
        raise ArtifactError(
            f"{file}: describes an ONNX file and no engine: build one with `dsunet-export trt`"
        )
    return manifest


def _check_engine_size(path: Path, engine: Engine) -> None:
    size = _size(path, "no such file")
    if size != engine.file.size:
        raise ArtifactError(
            f"{path}: has {size} bytes and {engine_manifest_file(path).name} describes an engine "
            f"of {engine.file.size}: cut short, or not a pair; copy both again, or build again"
        )


def _check_engine_hash(path: Path, engine: Engine) -> None:
    if _digest(path).sha256 != engine.file.sha256:
        raise ArtifactError(
            f"{path}: not the engine that {engine_manifest_file(path).name} describes (its "
            f"SHA-256 differs): damaged, or not a pair; copy both again, or build again"
        )


def _check_end(path: Path, manifest: Manifest, document: str) -> None:
    """An ONNX file has nothing but its manifest after the bytes whose hash the manifest holds."""
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
    """Bytes of a file.  `missing` is what is said if it is not there."""
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
