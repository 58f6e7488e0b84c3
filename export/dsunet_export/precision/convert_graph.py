"""Convert a float32 graph to float16 or bfloat16: select the nodes to keep, convert the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common as passes

from dsunet_export.errors import ExportError
from dsunet_export.graph.attention import score_matmuls
from dsunet_export.graph.values import is_float
from dsunet_export.options import FLOAT16_MAX, Attention
from dsunet_export.precision.convert_nodes import narrow, nodes_in_float32
from dsunet_export.precision.magnitudes import Magnitudes, measure_magnitudes, sources
from dsunet_export.precision.rules import KeptNodes
from dsunet_export.precision.types import has_variable_type, makes_integers, supports
from dsunet_export.probes import GraphInputs, Probe
from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.artifact.manifest import FLOAT32_SCORES, Peak, Precision
from dsunet_runtime.message_text import quote

HEADROOM = 4.0
"""Factor below the float16 maximum that a tensor must stay.  Other images have larger values than
the measured ones, and partial sums in float16 may exceed the sum itself."""
BFLOAT16_OPSET = 22
"""First opset with bfloat16 convolutions.  Since opset 18, the oldest that is exported, the
operators used here have changed only in the types that they take."""
LARGEST_EXACT = {Compute.FP16: 2**11, Compute.BF16: 2**8}
"""Largest number up to which a type represents every integer."""
PEAKS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class ConversionOptions:
    """Parameters of `convert_graph`."""

    compute: Compute
    keep_fp32: Sequence[str]
    """Patterns of node names."""
    probes: Sequence[Probe]
    """Sample images on which the float32 graph is run."""
    attention: Attention = Attention.FUSED


class ConvertedGraph(NamedTuple):
    """A graph in another precision than float32."""

    model: ir.Model
    precision: Precision
    """For the manifest."""
    float32_logits: list[NDArray[np.float32]]
    """Logits S×S of the graph before the conversion, for each sample image."""


def convert_graph(
    model: ir.Model, options: ConversionOptions, inputs: GraphInputs, folder: Path
) -> ConvertedGraph:
    """Convert a float32 graph to float16 or bfloat16.

    `model` cannot be used afterwards.  A temporary copy of the graph is written to `folder`.
    Raises ExportError if a pattern matches nothing, the graph does not run, or a value is not
    finite.
    """
    infer_types(model)
    if options.compute is Compute.BF16:
        model.opset_imports[""] = max(BFLOAT16_OPSET, model.opset_imports[""])
    opset = model.opset_imports[""]
    nodes = [node for node in model.graph if has_variable_type(node, opset)]
    kept_nodes = KeptNodes(str(node.name) for node in nodes)
    kept_nodes.apply_rules(options.compute)
    kept_nodes.request(options.keep_fp32)
    if options.attention is Attention.FLOAT32:
        for node in score_matmuls(model.graph):
            kept_nodes.keep(str(node.name), FLOAT32_SCORES)
    for node in nodes:
        if not supports(node, options.compute.element_type, opset):
            kept_nodes.keep(
                str(node.name),
                f"{node.op_type} does not support {options.compute.element_type} in opset {opset}",
            )
    _keep_integers(model.graph, options.compute, kept_nodes)
    left = [node for node in nodes if node.name not in kept_nodes.names]
    # bfloat16 has the range of float32.
    candidates = _values(left) if options.compute is Compute.FP16 else set()
    magnitudes, logits = measure_magnitudes(model, candidates, options.probes, inputs, folder)
    peaks: tuple[Peak, ...] = ()
    if options.compute is Compute.FP16:
        _keep_what_overflows(left, magnitudes, kept_nodes)
        in_float32 = nodes_in_float32(model.graph, kept_nodes.names, opset)
        peaks = _largest([node for node in left if node not in in_float32], magnitudes)
    weights = narrow(model, kept_nodes.names, options.compute)
    kept = tuple(kept_nodes.entries)
    precision = Precision(options.compute.element_type, kept, peaks, weights)
    return ConvertedGraph(model, precision, logits)


def infer_types(model: ir.Model) -> None:
    """Infer the types of all values, in place.  Raises ExportError if one cannot be inferred."""
    passes.ShapeInferencePass()(model)
    for node in model.graph:
        # Unnamed outputs do not matter: older onnxscript keeps those of LayerNormalization.
        if any(output.name and output.dtype is None for output in node.outputs):
            raise ExportError(
                f"ONNX cannot infer the type of {quote(node.name)}: export with --precision fp32"
            )


def _values(nodes: Sequence[ir.Node]) -> set[ir.Value]:
    """Return the float inputs and outputs of nodes."""
    values = (value for node in nodes for value in (*node.inputs, *node.outputs))
    return set(filter(is_float, values))


def _keep_integers(graph: ir.Graph, compute: Compute, kept_nodes: KeptNodes) -> None:
    for node in filter(makes_integers, graph):
        found = {source for value in filter(is_float, node.inputs) for source in sources(value)}
        producers = {producer.name for v in found if (producer := v.producer()) is not None}
        for name in sorted(map(str, producers)):
            kept_nodes.keep(
                name,
                f"{node.name} converts it to integers, and {compute.element_type} cannot represent "
                f"every integer above {LARGEST_EXACT[compute]}",
            )


def _keep_what_overflows(
    nodes: Sequence[ir.Node], magnitudes: Magnitudes, kept_nodes: KeptNodes
) -> None:
    for node in nodes:
        peaks = [peak for value in _values([node]) for peak in magnitudes.peaks(value)]
        too_large = [peak for peak in peaks if _overflows(peak)]
        if too_large:
            worst = max(too_large, key=lambda peak: peak.magnitude)
            kept_nodes.keep(
                str(node.name),
                f"{worst.tensor} reaches {worst.magnitude:.3g} on {worst.images}, "
                f"less than ×{HEADROOM:g} headroom below the float16 maximum ({FLOAT16_MAX:.0f})",
            )


def _overflows(peak: Peak) -> bool:
    # Weights are known exactly and need no headroom.
    headroom = 1.0 if peak.images == "weights" else HEADROOM
    return peak.magnitude * headroom > FLOAT16_MAX


def _largest(nodes: Sequence[ir.Node], magnitudes: Magnitudes) -> tuple[Peak, ...]:
    peaks = {peak for value in _values(nodes) for peak in magnitudes.peaks(value)}
    # Float32 values that a converted node reads are cast, so they count too.
    fitting = [peak for peak in peaks if not _overflows(peak)]
    return tuple(sorted(fitting, key=lambda peak: -peak.magnitude)[:PEAKS_SHOWN])
