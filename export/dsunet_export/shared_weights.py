"""The frozen weights of an artifact in a file that it shares with others.

What is trained is 1.4 % of `large`; the encoders are the same in all artifacts of one backbone.
Their weights go to a file that is named after its content.  Every frozen weight is stored as the
precision of the export demands, also that of a layer which stays in float32, because of its images
or of what was trained: such a layer reads its weight from the artifact's own file.  The shared file
therefore depends on the frozen weights and on the precision alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import onnx_ir as ir

from dsunet_export.artifact import writing
from dsunet_export.names import is_frozen
from dsunet_export.precision.narrow import NUMPY_TYPES, array_of
from dsunet_export.precision.types import is_float
from dsunet_export.quantization.quantize import quantized_weights
from dsunet_runtime.compute import Compute
from dsunet_runtime.files import destination, link_or_copy, resolved
from dsunet_runtime.manifest import FileDigest, Precision, digest

_Content = Callable[[], bytes]
"""The bytes of a tensor, made when they are needed: together they may be gigabytes."""
_FEWEST = 64
"""Fewest elements of a weight in the shared file.  Smaller tensors are mostly shapes and axes,
which libraries need when they read the graph."""
_ALIGNMENT = 4096
"""Of the offset of each weight, so that it can be mapped into memory."""
_DIGITS = 16
"""Number of digits of the SHA-256 in the file's name."""


def shared_name(name: str, sha256: str) -> str:
    """Return the name of the file with this SHA-256, for the name that `--shared-weights` gives."""
    path = Path(name)
    return f"{path.stem}-{sha256[:_DIGITS]}{path.suffix}"


def share_weights(model: ir.Model, artifact: Path, precision: Precision, name: str) -> None:
    """Move the frozen weights of a graph to a shared file beside a staged artifact.

    If the artifact's final folder has the file already, the staged one is a second name of it.
    Raises ExportError if the file cannot be written.
    """
    contents, placed = _contents(model.graph, precision)
    offsets, end = {}, 0
    for key in sorted(contents):
        offsets[key] = -(-end // _ALIGNMENT) * _ALIGNMENT
        end = offsets[key] + contents[key][0]
    sha256 = hashlib.sha256()
    for piece in _pieces(contents, offsets):
        sha256.update(piece)
    wanted = FileDigest(shared_name(name, sha256.hexdigest()), end, sha256.hexdigest())
    _write(artifact.with_name(wanted.name), wanted, _pieces(contents, offsets))
    for value, key in placed.items():
        tensor = value.const_value
        if tensor is not None:
            value.const_value = ir.ExternalTensor(
                wanted.name,
                offsets[key],
                contents[key][0],
                tensor.dtype,
                shape=ir.Shape(tensor.shape.numpy()),
                name=str(value.name),
                base_dir=artifact.parent,
            )


def _contents(
    graph: ir.Graph, precision: Precision
) -> tuple[dict[bytes, tuple[int, _Content]], dict[ir.Value, bytes]]:
    """Return size and content of each shared tensor by its SHA-256, and that of the graph's."""
    contents: dict[bytes, tuple[int, _Content]] = {}

    def add(content: _Content) -> bytes:
        found = content()
        key = hashlib.sha256(found).digest()
        contents[key] = len(found), content
        return key

    others = _not_shared(graph, precision)
    placed = {}
    for value in graph.initializers.values():
        tensor = value.const_value
        if tensor is not None and value not in others and _is_shared(value):
            placed[value] = add(tensor.tobytes)
    for reduced in others.values():
        for content in reduced:
            add(content)
    return contents, placed


def _is_shared(value: ir.Value) -> bool:
    """Whether one of the frozen modules holds or reads a weight that is large enough.

    Equal weights have been merged, so that a trained one may be read by a frozen module.
    """
    names = (value.name, *(use.node.name for use in value.uses()))
    tensor = value.const_value
    return tensor is not None and tensor.size >= _FEWEST and any(map(is_frozen, names))


def _not_shared(graph: ir.Graph, precision: Precision) -> dict[ir.Value, list[_Content]]:
    """Return frozen weights that stay in float32, with what the shared file has in their place."""
    if precision.quantized is not None:
        found = quantized_weights(graph, precision.quantized.data_type)
        return {
            value: [array.tobytes for array in arrays if array.size >= _FEWEST]
            for value, arrays in found.items()
        }
    compute = Compute.of(precision.compute)
    if compute is Compute.FP32:
        return {}
    return {
        value: [partial(_reduced, value, compute)]
        for value in graph.initializers.values()
        if is_float(value) and _is_shared(value)
    }


def _reduced(value: ir.Value, compute: Compute) -> bytes:
    return array_of(value).astype(NUMPY_TYPES[compute]).tobytes()


def _pieces(
    contents: dict[bytes, tuple[int, _Content]], offsets: dict[bytes, int]
) -> Iterator[bytes]:
    """Yield the content of the shared file."""
    position = 0
    for key, offset in offsets.items():
        size, content = contents[key]
        yield bytes(offset - position)
        yield content()
        position = offset + size


def _write(staged: Path, wanted: FileDigest, pieces: Iterator[bytes]) -> None:
    existing = destination(staged) / wanted.name
    with writing(staged):
        if existing.is_file() and digest(existing) == wanted:
            link_or_copy(resolved(existing), staged)
            return
        with staged.open("wb") as file:
            file.writelines(pieces)
