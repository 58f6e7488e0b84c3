"""A graph in less than float32: what stays is chosen, then the rest is narrowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common as passes

from dsunet_export.errors import ExportError
from dsunet_export.options import FLOAT16_MAX
from dsunet_export.precision.magnitudes import Magnitudes, measure, sources
from dsunet_export.precision.narrow import narrow, nodes_in_float32
from dsunet_export.precision.rules import Selection
from dsunet_export.precision.types import follows, is_float, makes_integers, supports
from dsunet_export.probes import GraphInputs, Probe
from dsunet_runtime.compute import Compute
from dsunet_runtime.manifest import Peak, Precision
from dsunet_runtime.quoting import quote

HEADROOM = 4.0
"""Other images reach further than those that were measured, and a backend that sums in float16
passes through more than the sum: a tensor that comes this close to the limit stays in float32."""
BFLOAT16_OPSET = 22
"""The first in which convolutions take bfloat16.  From 18 on, which is the oldest exported, the
operators that are used here have gained types and nothing else."""
LAST_WHOLE = {Compute.FP16: 2**11, Compute.BF16: 2**8}
PEAKS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class PrecisionOptions:
    """What is asked for."""

    compute: Compute
    keep_fp32: Sequence[str]
    """Patterns of names of nodes."""
    probes: Sequence[Probe]
    """The images on which the float32 graph is run."""


def reduce_precision(
    model: ir.Model, options: PrecisionOptions, inputs: GraphInputs, folder: Path
) -> tuple[Precision, list[NDArray[np.float32]]]:
    """Bring a float32 graph into another precision, in place.

    Says what became of it, and the logits S×S that the float32 graph gave for each of the probes.
    `folder` holds a copy of the graph while that runs.  Raises ExportError if a pattern matches
    nothing, or the graph does not run or gives something that is not finite.
    """
    infer_types(model)
    if options.compute is Compute.BF16:
        model.opset_imports[""] = max(BFLOAT16_OPSET, model.opset_imports[""])
    opset = model.opset_imports[""]
    nodes = [node for node in model.graph if follows(node, opset)]
    selection = Selection(str(node.name) for node in nodes)
    selection.apply_rules(options.compute)
    selection.request(options.keep_fp32)
    for node in nodes:
        if not supports(node, options.compute.element_type, opset):
            selection.keep(
                str(node.name),
                f"opset {opset} has no {node.op_type} with all its floats in "
                f"{options.compute.element_type}",
            )
    _keep_whole_numbers(model.graph, options.compute, selection)
    left = [node for node in nodes if node.name not in selection.names]
    # The range of bfloat16 is float32's.
    candidates = _values(left) if options.compute is Compute.FP16 else set()
    magnitudes, logits = measure(model, candidates, options.probes, inputs, folder)
    peaks: tuple[Peak, ...] = ()
    if options.compute is Compute.FP16:
        _keep_what_overflows(left, magnitudes, selection)
        in_float32 = nodes_in_float32(model.graph, selection.names, opset)
        peaks = _largest([node for node in left if node not in in_float32], magnitudes)
    weights = narrow(model, selection.names, options.compute)
    kept = tuple(selection.entries)
    return Precision(options.compute.element_type, kept, peaks, weights), logits


def infer_types(model: ir.Model) -> None:
    """Note the type of every value, in place.  Raises ExportError if one cannot be told."""
    passes.ShapeInferencePass()(model)
    for node in model.graph:
        # What has no name is left out: older releases of onnxscript keep LayerNormalization's.
        if any(output.name and output.dtype is None for output in node.outputs):
            raise ExportError(
                f"ONNX cannot infer the type of {quote(node.name)}: export with --precision fp32"
            )


def _values(nodes: Sequence[ir.Node]) -> set[ir.Value]:
    """Their float inputs and outputs."""
    values = (value for node in nodes for value in (*node.inputs, *node.outputs))
    return set(filter(is_float, values))


def _keep_whole_numbers(graph: ir.Graph, compute: Compute, selection: Selection) -> None:
    for node in filter(makes_integers, graph):
        found = {source for value in filter(is_float, node.inputs) for source in sources(value)}
        producers = {producer.name for v in found if (producer := v.producer()) is not None}
        for name in sorted(map(str, producers)):
            selection.keep(
                name,
                f"{node.name} makes integers of it, and {compute.element_type} has not all of them "
                f"beyond {LAST_WHOLE[compute]}",
            )


def _keep_what_overflows(
    nodes: Sequence[ir.Node], magnitudes: Magnitudes, selection: Selection
) -> None:
    for node in nodes:
        peaks = [peak for value in _values([node]) for peak in magnitudes.peaks(value)]
        too_large = [peak for peak in peaks if _overflows(peak)]
        if too_large:
            worst = max(too_large, key=lambda peak: peak.magnitude)
            selection.keep(
                str(node.name),
                f"{worst.tensor} reaches {worst.magnitude:.3g} on {worst.images}, "
                f"and float16 ends at {FLOAT16_MAX:.0f}",
            )


def _overflows(peak: Peak) -> bool:
    # Weights are known exactly.
    headroom = 1.0 if peak.images == "weights" else HEADROOM
    return peak.magnitude * headroom > FLOAT16_MAX


def _largest(nodes: Sequence[ir.Node], magnitudes: Magnitudes) -> tuple[Peak, ...]:
    peaks = {peak for value in _values(nodes) for peak in magnitudes.peaks(value)}
    # What is kept in float32 ends where a narrowed node begins, and is cast there: both count.
    fitting = [peak for peak in peaks if not _overflows(peak)]
    return tuple(sorted(fitting, key=lambda peak: -peak.magnitude)[:PEAKS_SHOWN])
