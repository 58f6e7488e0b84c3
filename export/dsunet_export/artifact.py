"""An ONNX artifact as files: written whole or not at all, the manifest in its metadata."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import onnx_ir as ir

from dsunet_export.errors import ExportError
from dsunet_runtime.manifest import METADATA_KEY, Manifest

SINGLE_FILE_LIMIT = 1_900_000_000
"""Bytes of weights; protobuf holds no message of 2 GiB, and the graph needs some room itself."""


@contextmanager
def staging(output: Path) -> Iterator[Path]:
    """A folder to write an artifact in, beside `output`, whose files then move to where it goes.

    The file called as `output` moves last, so that who sees it sees all of it.  If the context is
    left by an error, nothing moves.  Raises ExportError if the place cannot be written.
    """
    if output.is_dir():
        raise ExportError(
            f"{output} is a folder: name a file, for example {output / 'dsunet.onnx'}"
        )
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    except OSError as error:
        raise ExportError(f"cannot write to {output.parent}: {error.strerror}") from error
    try:
        yield folder
        files = sorted(folder.iterdir(), key=lambda file: file.name == output.name)
        for file in files:
            file.replace(output.with_name(file.name))
    except OSError as error:
        raise ExportError(f"cannot write {output}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def save(model: ir.Model, path: Path) -> None:
    """Write a model, its weights beside it as `NAME.onnx.data` if one file cannot hold them."""
    weights = sum(v.const_value.nbytes for v in model.graph.initializers.values() if v.const_value)
    if weights < SINGLE_FILE_LIMIT:
        ir.save(model, path)
    else:
        ir.save(model, path, external_data=f"{path.name}.data")


def append_manifest(path: Path, manifest: Manifest) -> None:
    """Put the manifest into the metadata of an ONNX file that has none.

    A protobuf message is the sum of its parts, so the metadata can follow the rest: the file, which
    may hold gigabytes, is not written again.
    """
    entry = onnx.StringStringEntryProto(key=METADATA_KEY, value=manifest.to_json())
    with path.open("ab") as file:
        file.write(onnx.ModelProto(metadata_props=[entry]).SerializeToString())
