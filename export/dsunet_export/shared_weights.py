"""The frozen weights of an artifact in a file that it shares with others.

The trained weights are 1.4 % of `large`; the encoders are the same in all artifacts of one
backbone.  Their weights go to a file that is named after its content.  It holds every frozen weight
in the precision of the export, also those of layers that stay in float32, which depend on the
sample images and the trained weights; such a layer reads its float32 weight from the artifact's own
file.  The shared file therefore depends only on the frozen weights and on the precision.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import onnx_ir as ir

from dsunet_export.artifact import shared_weights_file, write_errors
from dsunet_export.graph.names import is_frozen
from dsunet_export.graph.values import array_of, is_float
from dsunet_export.precision.convert_nodes import NUMPY_TYPES
from dsunet_export.quantization.quantize import quantized_weights
from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.artifact.file_digest import FileDigest, digest
from dsunet_runtime.artifact.manifest import Precision
from dsunet_runtime.files import destination, link_or_copy, resolved

_Content = Callable[[], bytes]
"""Returns the bytes of a tensor.  Called when they are needed: together they may be gigabytes."""
_FEWEST = 64
"""Fewest elements of a weight in the shared file.  Smaller tensors are mostly shapes and axes,
which libraries need when they read the graph."""
_ALIGNMENT = 4096
"""Alignment of each weight in the file, in bytes, so that it can be mapped into memory."""


class _SharedFile:
    """Content of a shared file: tensors without duplicates, in the order of their SHA-256."""

    def __init__(self) -> None:
        self._tensors: dict[bytes, tuple[int, _Content]] = {}

    def add(self, content: _Content) -> bytes:
        """Add a tensor, and return its SHA-256."""
        found = content()
        key = hashlib.sha256(found).digest()
        self._tensors[key] = len(found), content
        return key

    def byte_ranges(self) -> dict[bytes, range]:
        """Return the range of each tensor in the file, in bytes, by its SHA-256."""
        ranges, end = {}, 0
        for key in sorted(self._tensors):
            start = -(-end // _ALIGNMENT) * _ALIGNMENT
            end = start + self._tensors[key][0]
            ranges[key] = range(start, end)
        return ranges

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes of the file."""
        end = 0
        for key, byte_range in self.byte_ranges().items():
            yield bytes(byte_range.start - end)
            yield self._tensors[key][1]()
            end = byte_range.stop


def share_weights(model: ir.Model, artifact: Path, precision: Precision, name: str) -> None:
    """Move the frozen weights of a graph to a shared file beside a staged artifact.

    If the artifact's final folder already has the file, the staged one is a link to it.
    Raises ExportError if the file cannot be written.
    """
    file, keys = _SharedFile(), dict[ir.Value, bytes]()
    others = _in_float32(model.graph, precision)
    for value in model.graph.initializers.values():
        if value not in others and _is_shared(value):
            keys[value] = file.add(_tensor(value).tobytes)
    for content in itertools.chain.from_iterable(others.values()):
        file.add(content)
    staged = _write(file, artifact, name)
    byte_ranges = file.byte_ranges()
    for value, key in keys.items():
        tensor, byte_range = _tensor(value), byte_ranges[key]
        value.const_value = ir.ExternalTensor(
            staged.name,
            byte_range.start,
            len(byte_range),
            tensor.dtype,
            shape=ir.Shape(tensor.shape.numpy()),
            name=str(value.name),
            base_dir=artifact.parent,
        )


def _is_shared(value: ir.Value) -> bool:
    """Return whether a weight is large enough, and a frozen module holds or reads it.

    Equal weights have been merged, so that a trained one may be read by a frozen module.
    """
    names = (value.name, *(use.node.name for use in value.uses()))
    return _tensor(value).size >= _FEWEST and any(map(is_frozen, names))


def _in_float32(graph: ir.Graph, precision: Precision) -> dict[ir.Value, list[_Content]]:
    """Return the frozen weights in float32, with the tensors that replace them in the file."""
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
    with np.errstate(over="ignore"):  # such a weight stays in float32 for that reason
        return array_of(value).astype(NUMPY_TYPES[compute]).tobytes()


def _tensor(value: ir.Value) -> ir.TensorProtocol:
    if value.const_value is None:
        raise ValueError(f"{value.name} is not an initializer")
    return value.const_value


def _write(file: _SharedFile, artifact: Path, name: str) -> Path:
    """Write the file beside a staged artifact, or link the existing one; return its path."""
    sha256, size = hashlib.sha256(), 0
    for chunk in file.chunks():
        sha256.update(chunk)
        size += len(chunk)
    staged = shared_weights_file(artifact, name, sha256.hexdigest())
    existing = destination(staged) / staged.name
    wanted = FileDigest(staged.name, size, sha256.hexdigest())
    with write_errors(staged):
        if existing.is_file() and digest(existing) == wanted:
            link_or_copy(resolved(existing), staged)
        else:
            with staged.open("wb") as opened:
                opened.writelines(file.chunks())
    return staged
