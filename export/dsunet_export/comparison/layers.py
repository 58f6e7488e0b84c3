"""Two graphs of one network, tensor by tensor: where does the error come in?

Tensors are told by their names, which conversion to another precision leaves alone.  A graph of
reduced precision is run with every tensor really rounded, as a GPU does and ONNX Runtime does not.
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
from dsunet_export.graph_file import graph_errors, load_graph
from dsunet_export.names import POSTPROCESS, PREPROCESS, is_in
from dsunet_export.precision.emulate_rounding import emulate_rounding
from dsunet_export.precision.narrow import DATA_TYPES
from dsunet_export.precision.reduction import infer_types
from dsunet_export.precision.types import SELECTS
from dsunet_export.probes import GraphInputs, Probe
from dsunet_runtime.artifact import read_manifest
from dsunet_runtime.compute import Compute

_AT_ONCE = 8
"""Tensors of each graph in memory at once, beside the weights that make them and what is read later
on: of `large`, whose largest are maps of attention of 240 MB, some 3 GB in all."""
_BLOCK = 1 << 20
"""Numbers that are compared at once, in float64."""
_SHARE = 100.0
"""Times what the layers before it lose in the middle: more than that is more than its share.  In
float16 a softmax of large scores, or the small difference of large numbers, loses up to 90 times as
much, and that is how it should be."""
_ALLOWED = 1e-3
"""What any layer may lose: two float16 roundings."""
_ALLOWED_OF_8_BITS = 0.4
"""The same where products are quantised, whatever the others lose: twice what the input of one may
(`quantize.NOISIEST`), as a softmax or a GELU behind it loses more.  The demonstration
checkpoint's lose up to 0.17 as integers and 0.24 as floats."""


@dataclass(frozen=True, slots=True)
class LayerError:
    """One tensor that both graphs compute."""

    tensor: str
    node: str
    """What makes it in A, as `module.path/OpType`."""
    error: float
    """Root of the mean squared difference, as a share of the root of A's mean square; infinite
    where B is not finite and A is."""
    inherited: float
    """The largest error among the tensors that it is made of; 0 for the first ones."""
    kept: bool = False
    """Stays in float32 in a graph of reduced precision: what it shows was lost before it."""

    @property
    def own(self) -> float:
        """What came in here, as if that and what was inherited were independent of each other."""
        if math.isinf(self.error):
            return 0.0 if math.isinf(self.inherited) else math.inf
        return math.sqrt(max(0.0, self.error**2 - self.inherited**2))


@dataclass(frozen=True, slots=True)
class GraphComparison:
    """Two graphs, layer by layer."""

    layers: Sequence[LayerError]
    """In A's order."""
    at_fault: LayerError | None
    """The first that loses more than its share."""


def compare_graphs(a: Path, b: Path, images: Path | None) -> GraphComparison:
    """The tensors of two ONNX artifacts that have the same name, on the first few images of a
    folder, or on random pixels and a photograph.

    Both graphs run in pieces, in the memory of a few tensors.  Raises ExportError if there are no
    such tensors, or if a graph does not run.
    """
    probes = few_probes(a, b, images)
    with temporary_folder() as folder, graph_errors(a, b):
        first, second = _Graph(a), _Graph(b)
        common = [name for name in first.makers if name in second.makers]
        if read_manifest(a).inputs != read_manifest(b).inputs:
            # Frames of one size have other image arithmetic, which shares its names by chance.
            common = [n for n in common if not (is_in(PREPROCESS, n) or is_in(POSTPROCESS, n))]
        if not common:
            raise ExportError(
                f"{a} and {b} have no tensors of one name: export both from one model, both with "
                "or both without --plain"
            )
        kept = _kept(first, second)
        for graph in (first, second):
            graph.start(common, probes, folder)
        errors = {
            name: error
            for start in range(0, len(common), _AT_ONCE)
            for name, error in _errors(first, second, common[start:][:_AT_ONCE]).items()
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
    at_fault = first_beyond(layers, _ALLOWED_OF_8_BITS) if quantized else first_at_fault(layers)
    return GraphComparison(layers, at_fault)


def first_beyond(layers: Iterable[LayerError], allowed: float) -> LayerError | None:
    """The first layer that loses more than is allowed; None if none does."""
    return next((layer for layer in layers if layer.own > allowed), None)


def first_at_fault(layers: Iterable[LayerError]) -> LayerError | None:
    """The first layer that loses more than its share of what those before it lose; None if none."""
    before: list[float] = []
    for layer in layers:
        if layer.kept:
            continue
        usual = statistics.median(before) if before else 0.0
        if layer.own > max(_SHARE * usual, _ALLOWED):
            return layer
        if layer.own:
            before.append(layer.own)
    return None


class _Graph:
    """One artifact's graph, with the tensors that are compared as outputs."""

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
            str(value.name): node
            for node in self._model.graph
            for value in node.outputs
            if value.dtype in self._types and node.op_type not in SELECTS
        }
        """What computes a tensor, by the tensor's name; nodes that only move values left out."""
        self.in_float32 = {
            str(value.name)
            for node in self.makers.values()
            for value in node.outputs
            if value.dtype is ir.DataType.FLOAT
        }

    def start(self, names: Iterable[str], probes: Iterable[Probe], folder: Path) -> None:
        """Get ready to run on images, so that the tensors with these names can be read."""
        if self._rounded is not None:
            emulate_rounding(self._model, self._rounded)
        made = {str(value.name): value for node in self._model.graph for value in node.outputs}
        for name in names:
            # Where it was rounded, those that read it read this.
            self._outputs[name] = made.get(f"{name}.wide", made[name])
        inputs = map(self._inputs.prepare, probes)
        self._run = PiecewiseRun(self._model, self._outputs.values(), inputs, folder)

    def values(self, names: Sequence[str]) -> Iterator[list[NDArray[Any]]]:
        """The tensors with these names, for one image after the other; once for each name."""
        return self._run.compute([self._outputs[name] for name in names])

    def sources(self, name: str, known: Iterable[str]) -> set[str]:
        """Those of the known tensors that a tensor is made of, through any that are not known."""
        wanted, found, seen = set(known), set[str](), set[ir.Value]()
        ahead = list(self.makers[name].inputs)
        while ahead:
            value = ahead.pop()
            if value is None or value in seen:
                continue
            seen.add(value)
            producer = value.producer()
            if value.name in wanted:
                found.add(str(value.name))
            elif producer is not None:
                ahead.extend(producer.inputs)
        return found


def _kept(first: _Graph, second: _Graph) -> set[str]:
    """Tensors that stay in float32 where one of the graphs is of reduced precision."""
    reduced = first.is_reduced or second.is_reduced
    return first.in_float32 & second.in_float32 if reduced else set()


def _errors(first: _Graph, second: _Graph, names: Sequence[str]) -> dict[str, float]:
    """Of each tensor, over all images together."""
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
    """The sum of the squared differences, infinite where B is not finite, and that of A's squares.

    In blocks: whole tensors in float64 would take more memory than the graphs.
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
