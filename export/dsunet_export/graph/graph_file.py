"""Load the graph of an ONNX artifact, with external weights.

onnx-ir refuses symbolic links to external weights, because a graph may name any file; download
caches consist of such links, though.  Here weights are read only from the files that the manifest
lists, which are beside the artifact and whose hashes it records.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from dsunet_export.errors import ExportError
from dsunet_runtime.artifact.integrity import check_weights_files, weights_files
from dsunet_runtime.artifact.manifest import Manifest
from dsunet_runtime.errors import RuntimeFault
from dsunet_runtime.files import map_file
from dsunet_runtime.message_text import quote, reason


def load_graph(path: Path, manifest: Manifest) -> ir.Model:
    """Load the graph of an artifact whose files have been checked.

    Weights are memory-mapped and read when they are used.  The tensors do not refer to files, so
    the graph can be written anywhere.  Raises ExportError if the graph cannot be parsed,
    ArtifactError if it refers to files that the manifest does not list, and OSError if a file
    cannot be read.
    """
    check_weights_files(path, manifest)
    with graph_errors(path):
        proto = onnx.ModelProto()
        with memoryview(map_file(path)) as content:
            proto.ParseFromString(content)
        model = ir.from_proto(proto)
        del proto
        maps = {name: map_file(file) for name, file in weights_files(path, manifest).items()}
        for graph in model.graphs():
            for value in graph.initializers.values():
                if isinstance(value.const_value, ir.ExternalTensor):
                    value.const_value = _from_map(path, value.const_value, maps)
        return model


@contextmanager
def graph_errors(*paths: Path) -> Iterator[None]:
    """Convert exceptions that libraries raise for malformed graphs to ExportError.

    Use it around work on graphs from the user's files, which may not match their manifest.
    """
    try:
        yield
    except (ExportError, RuntimeFault, OSError, MemoryError):
        raise
    except Exception as error:  # of any type: the graph may hold anything
        named = " or ".join(map(str, paths))
        raise ExportError(
            f"{named}: not a graph that `dsunet-export onnx` writes "
            f"({type(error).__name__}: {reason(error)}): export it again"
        ) from error


def _from_map(
    path: Path, tensor: ir.ExternalTensor, maps: dict[str, mmap.mmap]
) -> ir.Tensor[NDArray[Any]]:
    """Make an in-memory tensor of an external one, from its memory-mapped file."""
    content = maps[str(tensor.location)]
    offset, shape, dtype = tensor.offset or 0, tensor.shape.numpy(), tensor.dtype.numpy()
    if not 0 <= offset <= len(content) - tensor.nbytes or tensor.dtype.bitwidth < 8:
        raise ExportError(
            f"{path}: the weight {quote(tensor.name)} is incomplete in {quote(tensor.location)}: "
            f"export it again"
        )
    array = np.frombuffer(content, dtype, tensor.size, offset).reshape(shape)
    return ir.Tensor(array, dtype=tensor.dtype, shape=tensor.shape, name=tensor.name)
