"""Compute statistics of the tensors of a graph on sample images.

Nodes added to the graph reduce each tensor where it is computed, so that no tensor has to be kept.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import ArrayLike, NDArray

from dsunet_export.errors import ExportError
from dsunet_export.graph.session import compute_logits
from dsunet_export.graph.values import insert_after_producer
from dsunet_export.probes import GraphInputs, Probe


@dataclass(frozen=True, slots=True)
class TensorStatistics:
    """Statistics of the tensors of a float32 graph on sample images, and its logits."""

    images: list[str]
    """Label of each image."""
    tensors: dict[str, dict[str, list[float]]]
    """A number for each image, by name of the tensor, in graph order, and by operator."""
    logits: list[NDArray[np.float32]]
    """S×S for each image."""


def compute_statistics(
    model: ir.Model,
    names: Collection[str],
    operators: Sequence[str],
    probes: Sequence[Probe],
    inputs: GraphInputs,
    folder: Path,
) -> TensorStatistics:
    """Run a float32 graph on images and reduce each of the named inputs and activations to numbers.

    `operators` are ONNX operators that reduce a whole tensor: `Size`, `ReduceMax` and the like.
    Other names, such as those of weights, are ignored.  The model is not changed; a temporary copy
    is written to `folder`.  Raises ExportError if the graph does not run.
    """
    copy = model.clone()
    computed = [output for node in copy.graph for output in node.outputs]
    values = [value for value in (*copy.graph.inputs, *computed) if value.name in names]
    for value in values:
        _add_outputs(copy.graph, value, operators)
    results = compute_logits(copy, map(inputs.prepare, probes), folder)
    tensors = {
        str(value.name): {
            operator: [float(result[f"{value.name}.{operator}"]) for result in results]
            for operator in operators
        }
        for value in values
    }
    labels = [probe.label for probe in probes]
    return TensorStatistics(labels, tensors, [result["logits"][0, 0] for result in results])


def check_finite(statistics: TensorStatistics) -> None:
    """Raise ExportError with the first image, and on it the first tensor, that is not finite.

    One of the operators must show NaN, which ONNX Runtime's ReduceMax and ReduceMin ignore.
    """
    for index, image in enumerate(statistics.images):
        found: dict[str, ArrayLike] = {
            f"{name} is": [numbers[index] for numbers in by_operator.values()]
            for name, by_operator in statistics.tensors.items()
        }
        for tensor_is, numbers in {**found, "the logits are": statistics.logits[index]}.items():
            if not np.isfinite(numbers).all():
                raise ExportError(
                    f"{tensor_is} not finite on {image}, in float32: check the checkpoint and that "
                    f"image; another precision cannot fix this"
                )


def _add_outputs(graph: ir.Graph, value: ir.Value, operators: Sequence[str]) -> None:
    """Add outputs to a graph, named `tensor.operator`: a value reduced by each operator."""
    nodes = []
    for operator in operators:
        attributes = {} if operator == "Size" else {"keepdims": 0}
        node = ir.node(operator, [value], attributes, name=f"{value.name}.{operator}")
        output = node.outputs[0]
        output.name, output.shape = node.name, ir.Shape([])
        output.dtype = ir.DataType.INT64 if operator == "Size" else ir.DataType.FLOAT
        nodes.append(node)
        graph.outputs.append(output)
    insert_after_producer(graph, value, nodes)
