"""Engines whose trained weights can be exchanged for those of another domain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dsunet_export.artifact import weights_file
from dsunet_export.errors import ExportError
from dsunet_export.graph.names import POSTPROCESS, PREPROCESS, is_frozen, is_in
from dsunet_runtime.artifact.file_digest import FileDigest
from dsunet_runtime.artifact.manifest import Manifest
from dsunet_runtime.errors import MissingExtraError
from dsunet_runtime.extras import install_command, missing_package
from dsunet_runtime.message_text import shorten

_FLOATS = ("FLOAT", "FLOAT16", "BFLOAT16")


def shared_weights_of(onnx: Path, manifest: Manifest) -> FileDigest:
    """Return the file of frozen weights that a graph shares with other domains.

    Raises ExportError if engines of the graph cannot take the weights of another domain.
    """
    shared = [file for file in manifest.files if file.name != weights_file(onnx).name]
    if not shared:
        raise ExportError(
            f"--refit needs a graph that shares its frozen weights with other domains, and {onnx} "
            f"does not: export each domain with `dsunet-export onnx --shared-weights backbone.data`"
        )
    if manifest.precision.quantized is not None:
        raise ExportError(
            f"--refit is for 16 bits and float32, and {onnx} is in "
            f"{manifest.precision.element_type}, whose ranges of activations depend on the domain: "
            f"build an engine for each domain"
        )
    return shared[0]


def mark_trained_weights(network: Any, onnx: Path, manifest: Manifest) -> None:
    """Mark the weights of a parsed network that differ between domains as refittable.

    Raises ExportError if TensorRT cannot exchange one of them.
    """
    refused = [
        name
        for name in trained_weights(onnx, manifest)
        if not network.mark_weights_refittable(name)
    ]
    if refused:
        raise ExportError(
            f"TensorRT cannot exchange {len(refused)} of the trained weights of {onnx} "
            f"({shorten(refused)}): build an engine for each domain"
        )


def trained_weights(onnx: Path, manifest: Manifest) -> list[str]:
    """Return the names of the weights that differ between domains.

    They are floats that a trained module reads.  Constants of the image arithmetic do not differ.
    """
    try:
        from dsunet_export.graph.graph_file import load_graph
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"--refit reads the graph, and {missing_package(error)} is not installed: "
            f"{install_command('export')}"
        ) from error
    graph = load_graph(onnx, manifest).graph
    return [
        str(value.name)
        for value in graph.initializers.values()
        if value.dtype is not None
        and value.dtype.name in _FLOATS
        and not _is_constant([use.node.name for use in value.uses()])
    ]


def _is_constant(readers: list[str | None]) -> bool:
    """Return whether only frozen modules or the image arithmetic read a weight."""
    return all(
        is_frozen(name) or is_in(PREPROCESS, name) or is_in(POSTPROCESS, name) for name in readers
    )
