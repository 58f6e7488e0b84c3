"""Compare two graphs of one model tensor by tensor, to find the layer where an error arises.

Tensors are matched by name; conversion to another precision does not change names, and matmuls that
quantisation merges are compared one by one.  A graph of reduced precision is run with the rounding
of every tensor emulated, because ONNX Runtime does not round every tensor as a GPU does.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from dsunet_export.artifact import temporary_folder
from dsunet_export.comparison.compare import few_probes
from dsunet_export.comparison.piecewise import PiecewiseRun
from dsunet_export.errors import ExportError
from dsunet_export.graph.graph_file import graph_errors, load_graph
from dsunet_export.graph.names import POSTPROCESS, PREPROCESS, is_in
from dsunet_export.precision.convert_graph import infer_types
from dsunet_export.precision.convert_nodes import DATA_TYPES
from dsunet_export.precision.emulate_rounding import emulate_rounding
from dsunet_export.precision.types import MOVES_VALUES
from dsunet_export.probes import GraphInputs, Probe
from dsunet_export.quantization.merge_matmuls import is_part, unmerged_name
from dsunet_export.verification.tolerances import (
    LAYER_ERROR,
    LAYER_ERROR_OF_8_BITS,
    LAYER_MEDIAN_FACTOR,
)
from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.artifact.manifest_file import read_manifest

_TENSORS_AT_ONCE = 8
"""Number of tensors of each graph in memory at once, beside weights and tensors that are needed
later: some 3 GB for `large`, whose largest tensors are attention maps of 240 MB."""
_BLOCK = 1 << 20
"""Number of elements that are compared at once, in float64."""


@dataclass(frozen=True, slots=True)
class LayerError:
    """Error of one tensor that both graphs compute."""

    tensor: str
    node: str
    """Name of the node of A that computes it, `module.path/OpType`."""
    error: float
    """RMS of the difference, as a fraction of the RMS of A; infinite where B is not finite but A
    is."""
    inherited: float
    """Largest error among the tensors from which it is computed; 0 for the first ones."""
    kept: bool = False
    """Whether it stays in float32 in a graph of reduced precision: its error is inherited."""

    @property
    def own(self) -> float:
        """Error that this layer adds, assuming that it is independent of the inherited error."""
        if math.isinf(self.error):
            return 0.0 if math.isinf(self.inherited) else math.inf
        return math.sqrt(max(0.0, self.error**2 - self.inherited**2))


@dataclass(frozen=True, slots=True)
class GraphComparison:
    """Errors of all tensors that two graphs share."""

    layers: Sequence[LayerError]
    """In the order of A's graph."""
    at_fault: LayerError | None
    """First layer with an unusually large own error; None if there is none."""


def compare_graphs(a: Path, b: Path, images: Path | None) -> GraphComparison:
    """Compare the tensors with the same name of two ONNX artifacts.

    Uses the first few images of a folder, or random pixels and a photograph.  Both graphs run in
    pieces, with a few tensors in memory.  Raises ExportError if no names match or a graph does not
    run.
    """
    probes = few_probes(a, b, images)
    with temporary_folder() as folder, graph_errors(a, b):
        first, second = _ArtifactGraph(a), _ArtifactGraph(b)
        common = [name for name in first.makers if name in second.makers]
        if read_manifest(a).inputs != read_manifest(b).inputs:
            # Frames of one size have other image arithmetic, which shares its names by chance.
            common = [n for n in common if not (is_in(PREPROCESS, n) or is_in(POSTPROCESS, n))]
        if not common:
            raise ExportError(
                f"{a} and {b} have no tensor names in common: export both from one model, both "
                "with or both without --plain"
            )
        kept = _kept(first, second)
        for graph in (first, second):
            graph.start(common, probes, folder)
        errors = {
            name: error
            for start in range(0, len(common), _TENSORS_AT_ONCE)
            for name, error in _errors(first, second, common[start:][:_TENSORS_AT_ONCE]).items()
        }
    layers = [
        LayerError(
            tensor=name,
            node=str(first.makers[name].name),
            error=errors[name],
            inherited=max((errors[s] for s in first.sources(name, errors)), default=0.0),
            kept=name in kept,
        )
        for name in common
    ]
    quantized = any(read_manifest(path).precision.quantized for path in (a, b))
    at_fault = first_above(layers, LAYER_ERROR_OF_8_BITS) if quantized else first_at_fault(layers)
    return GraphComparison(layers, at_fault)


def first_above(layers: Iterable[LayerError], allowed: float) -> LayerError | None:
    """Return the first layer with a larger own error than allowed; None if there is none."""
    return next((layer for layer in layers if layer.own > allowed), None)


def first_at_fault(layers: Iterable[LayerError]) -> LayerError | None:
    """Return the first layer with an unusually large own error; None if there is none.

    The limit is a multiple of the median own error of the layers before it (`LAYER_MEDIAN_FACTOR`).
    """
    before: list[float] = []
    for layer in layers:
        if layer.kept:
            continue
        usual = statistics.median(before) if before else 0.0
        if layer.own > max(LAYER_MEDIAN_FACTOR * usual, LAYER_ERROR):
            return layer
        if layer.own:
            before.append(layer.own)
    return None


class _ArtifactGraph:
    """Graph of one artifact, from which any tensors can be read."""

    def __init__(self, path: Path) -> None:
        manifest = read_manifest(path)
        self._model = load_graph(path, manifest)
        infer_types(self._model)
        compute = Compute.of(manifest.precision.compute)
        self._types = {ir.DataType.FLOAT, DATA_TYPES.get(compute, ir.DataType.FLOAT)}
        self._rounded = DATA_TYPES.get(compute)
        self.is_reduced = self._rounded is not None
        self._inputs = GraphInputs.of(manifest)
        self._outputs: dict[str, ir.Value] = {}
        self.makers: dict[str, ir.Node] = {
            unmerged_name(value): node
            for node in self._model.graph
            for value in node.outputs
            if value.dtype in self._types and (node.op_type not in MOVES_VALUES or is_part(value))
        }
        """Nodes by the names of their outputs, without nodes that only move values."""
        self.in_float32 = {
            unmerged_name(value)
            for node in self.makers.values()
            for value in node.outputs
            if value.dtype is ir.DataType.FLOAT
        }

    def start(self, names: Iterable[str], probes: Iterable[Probe], folder: Path) -> None:
        """Prepare to run on images and to read the tensors with these names."""
        if self._rounded is not None:
            emulate_rounding(self._model, self._rounded)
        made = {unmerged_name(value): value for node in self._model.graph for value in node.outputs}
        for name in names:
            # With emulated rounding, readers read the rounded tensor, `.wide`.
            self._outputs[name] = made.get(f"{name}.wide", made[name])
        inputs = map(self._inputs.prepare, probes)
        self._run = PiecewiseRun(self._model, self._outputs.values(), inputs, folder)

    def values(self, names: Sequence[str]) -> Iterator[list[NDArray[Any]]]:
        """Yield the named tensors for each image.  Each name can be read once."""
        return self._run.compute([self._outputs[name] for name in names])

    def sources(self, name: str, known: Iterable[str]) -> set[str]:
        """Return the nearest known tensors from which a tensor is computed."""
        wanted, found, seen = set(known), set[str](), set[ir.Value]()
        ahead = list(self.makers[name].inputs)
        while ahead:
            value = ahead.pop()
            if value is None or value in seen:
                continue
            seen.add(value)
            producer, source = value.producer(), unmerged_name(value)
            if source in wanted:
                found.add(source)
            elif producer is not None:
                ahead.extend(producer.inputs)
        return found


def _kept(first: _ArtifactGraph, second: _ArtifactGraph) -> set[str]:
    """Return the tensors that stay in float32 if one of the graphs has reduced precision."""
    reduced = first.is_reduced or second.is_reduced
    return first.in_float32 & second.in_float32 if reduced else set()


def _errors(
    first: _ArtifactGraph, second: _ArtifactGraph, names: Sequence[str]
) -> dict[str, float]:
    """Compute the error of each tensor over all images."""
    differences, magnitudes = np.zeros(len(names)), np.zeros(len(names))
    for one, other in zip(first.values(names), second.values(names), strict=True):
        for index, (a, b) in enumerate(zip(one, other, strict=True)):
            if a.shape != b.shape:
                raise ExportError(
                    f"{names[index]} has shape {a.shape} in A and {b.shape} in B: export both from "
                    "one model"
                )
            difference, magnitude = _squares(a, b)
            differences[index] += difference
            magnitudes[index] += magnitude
    return {
        name: math.sqrt(difference / magnitude) if magnitude else float(difference > 0)
        for name, difference, magnitude in zip(names, differences, magnitudes, strict=True)
    }


def _squares(a: NDArray[Any], b: NDArray[Any]) -> tuple[float, float]:
    """Sum the squared differences, infinite where B is not finite, and the squares of A.

    Works in blocks: whole tensors in float64 would take more memory than the graphs.
    """
    difference = magnitude = 0.0
    flat_a, flat_b = a.reshape(-1), b.reshape(-1)
    for start in range(0, a.size, _BLOCK):
        block_a = flat_a[start:][:_BLOCK].astype(np.float64)
        block_b = flat_b[start:][:_BLOCK].astype(np.float64)
        finite = np.isfinite(block_b).all()
        difference += float(((block_b - block_a) ** 2).sum()) if finite else math.inf
        magnitude += float((block_a**2).sum())
    return difference, magnitude
