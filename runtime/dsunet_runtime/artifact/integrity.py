"""Integrity of an artifact: whether every file that belongs to it is there and unchanged."""

from __future__ import annotations

from pathlib import Path

from dsunet_runtime.artifact.file_digest import FileDigest, digest
from dsunet_runtime.artifact.manifest import Engine, Manifest
from dsunet_runtime.artifact.manifest_file import engine_manifest_file, file_size, read_manifest
from dsunet_runtime.artifact.onnx_weights import external_files
from dsunet_runtime.errors import ArtifactError
from dsunet_runtime.message_text import quote, reason


def check_sizes(path: Path, manifest: Manifest) -> None:
    """Raise ArtifactError unless every file of the artifact exists and has the expected size."""
    if manifest.engine is not None:
        _check_engine_size(path, manifest.engine)
        if manifest.engine.weights_stripped:
            check_sizes(*_weights_source(path, manifest))
        return
    for expected in manifest.files:
        file = path.with_name(expected.name)
        size = file_size(
            file, f"missing; {path.name} stores its weights in it: copy or move both together"
        )
        if size != expected.size:
            raise ArtifactError(
                f"{file}: has {size} bytes and {path.name} was exported with one of "
                f"{expected.size}: cut short or replaced; copy it again, or export again"
            )


def check_hashes(path: Path, manifest: Manifest) -> None:
    """Raise ArtifactError unless the SHA-256 of every file of the artifact is the expected one.

    It reads all files completely, so run it in a thread beside other work.
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
    unlisted = external_files(path) - weights_files(path, manifest).keys()
    if unlisted:
        raise ArtifactError(
            f"{path}: its graph reads weights from {quote(min(unlisted))}, which its manifest "
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
    file_size(
        graph,
        f"missing; {path.name} was built without weights and reads them from it: copy both "
        f"together, or build without `--strip-weights`",
    )
    graph_manifest, expected = read_manifest(graph), manifest.graph
    found = graph_manifest.graph
    if (found.size, found.sha256, graph_manifest.engine) != (
        expected.size,
        expected.sha256,
        None,
    ):
        raise ArtifactError(
            f"{graph}: not the file that {path.name} was built from and reads its weights from: "
            f"copy the right one next to it, or build the engine again with `dsunet-export trt`"
        )
    return graph, graph_manifest


def _check_engine_size(path: Path, engine: Engine) -> None:
    size = file_size(path, "no such file")
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


def _digest(file: Path, size: int | None = None) -> FileDigest:
    try:
        return digest(file, size)
    except OSError as error:
        raise ArtifactError(f"{file}: {reason(error)}") from error
