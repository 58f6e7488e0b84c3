"""An ONNX artifact as files: written whole or not at all, the manifest in its metadata."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dsunet_export.errors import ExportError
from dsunet_runtime.artifact import encode_manifest, engine_manifest_file
from dsunet_runtime.bounds import is_plain_name
from dsunet_runtime.file_kinds import ENGINE_SUFFIX, ONNX_SUFFIX, is_engine, is_onnx
from dsunet_runtime.files import destination, is_unicode, staging_folder
from dsunet_runtime.manifest import FileDigest, Manifest, digest
from dsunet_runtime.message_text import reason

if TYPE_CHECKING:
    import onnx_ir as ir  # an engine is built without it

SINGLE_FILE_LIMIT = 1_900_000_000
"""Bytes of weights; protobuf holds no message of 2 GiB, and the graph needs some room itself."""


def check_onnx_output(output: Path) -> None:
    """Raise ExportError if no ONNX file can have this name."""
    _check_output(output, is_onnx(output), f"an ONNX file ends in {ONNX_SUFFIX}")
    _check_length(weights_file(output))


def check_engine_output(output: Path) -> None:
    """Raise ExportError if no engine can have this name."""
    _check_output(output, is_engine(output), f"an engine ends in {ENGINE_SUFFIX} or .plan")
    _check_length(engine_manifest_file(output))


def _check_output(output: Path, fits: bool, rule: str) -> None:
    if not fits:
        raise ExportError(f"{output}: the name of {rule}")
    check_name(output)


def check_name(path: Path) -> None:
    """Raise ExportError unless a manifest can hold a file's name, and libraries can open it."""
    if not (is_plain_name(path.name) and is_unicode(path)):
        raise ExportError(
            f"{path}: its name goes into the manifest, so it must be UTF-8 without control "
            f"characters, and so must its folder's"
        )


def _check_length(beside: Path) -> None:
    """What is written beside an artifact has a longer name."""
    try:
        beside.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise ExportError(f"{beside} cannot be written: {reason(error)}") from error


@contextmanager
def staging(output: Path) -> Iterator[Path]:
    """A folder to write an artifact in, beside `output`, whose files then move to where it goes.

    If the context is left by an error, nothing moves.  An older artifact is replaced, weights
    first; its manifest would tell if the machine stopped between the two.  What a killed process
    left behind in the same place is removed.  Raises ExportError if the place cannot be written.
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
    """A folder for graphs that are only run; those that killed processes left are removed.

    It is where the variable TMPDIR says.
    """
    return staging_folder(Path(tempfile.gettempdir()))


def _publish(folder: Path, output: Path) -> None:
    files = sorted(folder.iterdir(), key=lambda file: file.name == output.name)
    try:
        for file in files:
            file.replace(output.with_name(file.name))
        if len(files) == 1:
            weights_file(output).unlink(missing_ok=True)  # of an older artifact
    except OSError as error:
        raise ExportError(f"cannot write {output}: {reason(error)}") from error


def weights_file(output: Path) -> Path:
    """Where an artifact keeps weights that one file cannot hold."""
    return output.with_name(f"{output.name}.data")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """For writing a file, staged or not; raises ExportError if that does not succeed."""
    try:
        yield
    except OSError as error:
        raise ExportError(f"cannot write to {destination(path)}: {reason(error)}") from error


def save(model: ir.Model, path: Path) -> None:
    """Write a model, its weights beside it as `NAME.onnx.data` if one file cannot hold them."""
    import onnx_ir as ir

    values = [value.const_value for value in model.graph.initializers.values()]
    weights = sum(tensor.nbytes for tensor in values if tensor is not None)
    external = weights_file(path).name if weights >= SINGLE_FILE_LIMIT else None
    with writing(path):
        ir.save(model, path, external_data=external)


def beside(artifact: Path) -> tuple[FileDigest, ...]:
    """The other files of an artifact that is being written: weights that it does not hold."""
    files = sorted(artifact.parent.iterdir())
    return tuple(digest(file) for file in files if file != artifact)


def replace_manifest(path: Path, manifest: Manifest) -> None:
    """Put another manifest in the place of one that was appended."""
    with path.open("r+b") as file:
        file.truncate(manifest.graph.size)
    append_manifest(path, manifest)


def append_manifest(path: Path, manifest: Manifest) -> None:
    """Put the manifest into the metadata of an ONNX file that has none.

    A protobuf message is the sum of its parts, so the metadata can follow the rest: the file, which
    may hold gigabytes, is not written again.
    """
    with path.open("ab") as file:
        file.write(encode_manifest(manifest))
