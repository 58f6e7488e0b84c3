"""Run graphs that are not artifacts, such as those with added outputs or nodes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir
import onnxruntime

from dsunet_export.artifact import save
from dsunet_export.errors import ExportError
from dsunet_export.graph.names import POSTPROCESS, is_in
from dsunet_export.graph.values import is_float
from dsunet_runtime.backends.interface import Tensors
from dsunet_runtime.backends.onnxruntime.backend import disable_float8_fusion
from dsunet_runtime.closeable import Closeable
from dsunet_runtime.message_text import reason


class GraphSession(Closeable):
    """An ONNX Runtime session of a graph, with a temporary file in `folder`.

    Nodes run in graph order, so that tensors which are only measured are released early.  Raises
    ExportError if the graph cannot be loaded.
    """

    def __init__(self, model: ir.Model, folder: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
        if any(v.dtype is ir.DataType.FLOAT8E4M3FN for v in model.graph.initializers.values()):
            disable_float8_fusion(options)
        self._scratch = tempfile.TemporaryDirectory(dir=folder)
        path = Path(self._scratch.name) / "graph.onnx"
        save(model, path)
        try:
            self._session: Any = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's exceptions have no common base class
            self._scratch.cleanup()
            raise _failure(error) from error

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs, in order."""
        return [output.name for output in self._session.get_outputs()]

    def run(self, inputs: Tensors, names: Sequence[str]) -> Tensors:
        """Compute the named outputs.  Raises ExportError if the graph does not run."""
        try:
            return dict(zip(names, self._session.run(names, inputs), strict=True))
        except Exception as error:  # of any type, as above
            raise _failure(error) from error

    def close(self) -> None:
        self._session = None
        self._scratch.cleanup()


def compute_outputs(model: ir.Model, inputs: Iterable[Tensors], folder: Path) -> list[Tensors]:
    """Compute the outputs of a graph for each of the inputs, with ONNX Runtime on the CPU.

    A temporary file is written to `folder`.  Raises ExportError if the graph does not run.
    """
    with GraphSession(model, folder) as session:
        return [session.run(values, session.outputs) for values in inputs]


def compute_logits(model: ir.Model, inputs: Iterable[Tensors], folder: Path) -> list[Tensors]:
    """Compute the outputs of a graph for each of the inputs, and its logits as `logits`."""
    logits, declared = find_logits(model.graph), model.graph.outputs
    before = list(declared)
    if logits not in before:
        declared.append(logits)
    found = compute_outputs(model, inputs, folder)
    declared[:] = before
    return [{**outputs, "logits": outputs[str(logits.name)]} for outputs in found]


def find_logits(graph: ir.Graph) -> ir.Value:
    """Find the logits in a graph: its output, or the input of its postprocessing.

    Raises ExportError if there are none.
    """
    for node in graph:
        if not is_in(POSTPROCESS, node.name):
            continue
        for value in node.inputs:
            producer = value.producer() if is_float(value) else None
            if producer is not None and not is_in(POSTPROCESS, producer.name):
                return producer.outputs[0]
    if not is_float(graph.outputs[0]):
        raise ExportError("the graph has no logits before its postprocessing: export it again")
    return graph.outputs[0]


def _failure(error: Exception) -> ExportError:
    return ExportError(f"ONNX Runtime cannot run the graph: {reason(error)}")
