"""Running a graph that is no artifact: one with more outputs, or with other nodes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import onnx_ir as ir
import onnxruntime

from dsunet_export.artifact import save
from dsunet_export.errors import ExportError
from dsunet_export.precision.types import is_float
from dsunet_runtime.backends import Tensors


def run(model: ir.Model, inputs: Iterable[Tensors], folder: Path) -> list[Tensors]:
    """The outputs of a graph for each of the inputs, by ONNX Runtime on the CPU.

    Nodes run in the order in which they stand in the graph, so that what is only measured does not
    live on until the end.  `folder` holds the graph's file meanwhile.  Raises ExportError if it
    does not run.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        path = Path(scratch) / "graph.onnx"
        save(model, path)
        try:
            session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
            names = [output.name for output in session.get_outputs()]
            return [dict(zip(names, session.run(names, values), strict=True)) for values in inputs]
        except Exception as error:  # ONNX Runtime's exceptions have no base of their own
            reason = " ".join(str(error).split())
            raise ExportError(f"ONNX Runtime cannot run the graph: {reason}") from error


def compute_logits(model: ir.Model, inputs: Iterable[Tensors], folder: Path) -> list[Tensors]:
    """The outputs of a graph for each of the inputs, and its logits N×1×S×S as `logits`."""
    logits = find_logits(model.graph)
    if logits not in model.graph.outputs:
        model.graph.outputs.append(logits)
    return [
        {**outputs, "logits": outputs[str(logits.name)]} for outputs in run(model, inputs, folder)
    ]


def find_logits(graph: ir.Graph) -> ir.Value:
    """What the network gives: the graph's output, or what masks are made of in it."""
    for node in graph:
        if not str(node.name).startswith("postprocess/"):
            continue
        for value in node.inputs:
            producer = value.producer() if is_float(value) else None
            if producer is not None and not str(producer.name).startswith("postprocess/"):
                return producer.outputs[0]
    return graph.outputs[0]
