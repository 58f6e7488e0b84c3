"""Files of an ONNX artifact: written atomically, with the manifest in the metadata."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dsunet_export.errors import ExportError
from dsunet_runtime.artifact.bounds import is_plain_name
from dsunet_runtime.artifact.file_digest import FileDigest, digest
from dsunet_runtime.artifact.file_kinds import ENGINE_SUFFIX, ONNX_SUFFIX, is_engine, is_onnx
from dsunet_runtime.artifact.integrity import check_hashes, check_sizes, check_weights_files
from dsunet_runtime.artifact.manifest import Manifest
from dsunet_runtime.artifact.manifest_file import encode_manifest, engine_manifest_file
from dsunet_runtime.files import destination, is_unicode, staging_folder
from dsunet_runtime.message_text import reason

if TYPE_CHECKING:
    import onnx_ir as ir  # an engine is built without it

NOT_WRITTEN = FileDigest("", 0, "")
"""Digest of a graph in a manifest, until `write_artifact` replaces it."""

SINGLE_FILE_LIMIT = 1_900_000_000
"""Largest weights, in bytes, in one file: protobuf messages are limited to 2 GiB with the graph."""


def check_onnx_output(output: Path) -> None:
    """Raise ExportError if an ONNX file cannot have this name."""
    _check_output(output, is_onnx(output), f"an ONNX file ends in {ONNX_SUFFIX}")
    _check_length(weights_file(output))


def check_engine_output(output: Path) -> None:
    """Raise ExportError if an engine cannot have this name."""
    _check_output(output, is_engine(output), f"an engine ends in {ENGINE_SUFFIX} or .plan")
    _check_length(engine_manifest_file(output))


def check_files(path: Path, manifest: Manifest) -> None:
    """Compare the files of an artifact with its manifest: sizes, hashes and external weights.

    Raises ArtifactError if one is missing, differs or is not listed.
    """
    check_sizes(path, manifest)
    check_hashes(path, manifest)
    if manifest.engine is None:
        check_weights_files(path, manifest)


def is_shared_name(name: str) -> bool:
    """Return whether `--shared-weights` can have this value."""
    return is_plain_name(name) and is_plain_name(
        shared_weights_file(Path("x"), name, "0" * 64).name
    )


def _check_output(output: Path, fits: bool, rule: str) -> None:
    if not fits:
        raise ExportError(f"{output}: the name of {rule}")
    check_name(output)


def check_name(path: Path) -> None:
    """Raise ExportError unless a manifest can hold a file's name, and libraries can open it."""
    if not (is_plain_name(path.name) and is_unicode(path)):
        raise ExportError(
            f"{path}: its name goes into the manifest, so it must be UTF-8 without control "
            f"characters, and so must that of its folder"
        )


def _check_length(beside: Path) -> None:
    """Raise ExportError if the longer name of the second file is too long."""
    try:
        beside.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise ExportError(f"{beside} cannot be written: {reason(error)}") from error


@contextmanager
def artifact_staging(output: Path) -> Iterator[Path]:
    """Provide a temporary folder beside `output`; on success, move its files there.

    If the context is left by an error, nothing is moved.  An existing artifact is replaced, weights
    first, so that its manifest shows an interruption between the two.  Folders left by killed
    processes are removed.  Raises ExportError if the folder of `output` cannot be written.
    """
    with ExitStack() as stack:
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            folder = stack.enter_context(staging_folder(output.parent))
        except OSError as error:
            raise ExportError(f"cannot write to {output.parent}: {reason(error)}") from error
        yield folder
        _publish(folder, output)


def temporary_folder() -> AbstractContextManager[Path]:
    """Provide a temporary folder for graphs, in TMPDIR.  Removes those of killed processes."""
    return staging_folder(Path(tempfile.gettempdir()))


def _publish(folder: Path, output: Path) -> None:
    files = sorted(folder.iterdir(), key=lambda file: file.name == output.name)
    older = weights_file(output)
    try:
        for file in files:
            new = output.with_name(file.name)
            if not (new.exists() and new.samefile(file)):  # shared weights that were there
                file.replace(new)
        if older.name not in {file.name for file in files}:
            older.unlink(missing_ok=True)
    except OSError as error:
        raise ExportError(f"cannot write {output}: {reason(error)}") from error


def weights_file(output: Path) -> Path:
    """Return the path of the second file, for weights that do not fit into the first."""
    return output.with_name(f"{output.name}.data")


def shared_weights_file(output: Path, name: str, sha256: str) -> Path:
    """Return the path of a file of shared weights: `name` with digits of its SHA-256, beside it."""
    given = Path(name)
    return output.with_name(f"{given.stem}-{sha256[:16]}{given.suffix}")


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Convert an OSError in this context to ExportError, which names the final folder of `path`."""
    try:
        yield
    except OSError as error:
        raise ExportError(f"cannot write to {destination(path)}: {reason(error)}") from error


def save(model: ir.Model, path: Path) -> None:
    """Write a model; weights that do not fit into one file go to `NAME.onnx.data` beside it.

    Raises ExportError if it cannot be written, or if such weights are left after others went to a
    shared file.
    """
    import onnx_ir as ir

    values = [value.const_value for value in model.graph.initializers.values()]
    own = [value for value in values if not isinstance(value, ir.ExternalTensor)]
    weights = sum(tensor.nbytes for tensor in own if tensor is not None)
    external = weights_file(path).name if weights >= SINGLE_FILE_LIMIT else None
    if external and len(own) < len(values):
        raise ExportError(
            f"{weights / 1e9:.1f} GB of the weights cannot be shared, which is too much for "
            f"{path.name}: keep fewer layers in float32, or omit --shared-weights"
        )
    with write_errors(path):
        ir.save(model, path, external_data=external)


def write_artifact(
    model: ir.Model, path: Path, manifest: Manifest, shared_weights: str | None = None
) -> Manifest:
    """Write a staged artifact; return the manifest with the digests of its files.

    `shared_weights` is the name for the file of the frozen weights; None to write none.
    """
    from dsunet_export.graph.self_description import describe_itself
    from dsunet_export.shared_weights import share_weights

    describe_itself(model, manifest)
    if shared_weights is not None:
        share_weights(model, path, manifest.precision, shared_weights)
    save(model, path)
    files = sorted(path.parent.iterdir())
    written = replace(
        manifest, graph=digest(path), files=tuple(digest(file) for file in files if file != path)
    )
    append_manifest(path, written)
    return written


def replace_manifest(path: Path, manifest: Manifest) -> None:
    """Replace the manifest at the end of an ONNX file."""
    with path.open("r+b") as file:
        file.truncate(manifest.graph.size)
    append_manifest(path, manifest)


def append_manifest(path: Path, manifest: Manifest) -> None:
    """Append the manifest to an ONNX file as a metadata entry.

    Concatenated protobuf messages merge when they are parsed, so the file, which may hold
    gigabytes, is not written again.
    """
    with path.open("ab") as file:
        file.write(encode_manifest(manifest))
