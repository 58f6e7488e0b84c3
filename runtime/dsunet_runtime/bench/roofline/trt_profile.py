"""Profile of an engine by TensorRT, with the layers as its engine inspector describes them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from dsunet_runtime.artifact.manifest import Manifest
from dsunet_runtime.artifact.manifest_file import read_manifest
from dsunet_runtime.artifact.shapes import Shape
from dsunet_runtime.backends.interface import Tensors
from dsunet_runtime.backends.tensorrt.engine import LoadedEngine
from dsunet_runtime.backends.tensorrt.execution import Execution
from dsunet_runtime.backends.tensorrt.slots import Slot
from dsunet_runtime.bench.roofline.layer_profile import LayerProfile, ProfiledLayer, medians, repeat
from dsunet_runtime.bench.roofline.ort_profile import count_graph
from dsunet_runtime.cuda import Device
from dsunet_runtime.errors import BackendError, RuntimeFault

_NODE = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
# Substrings of TensorRT's names of types and formats; longer ones come first.
_TYPES = (
    (("INT8", "FP8", "FLOAT8", "BOOL"), 1),
    (("BF16", "BFLOAT16", "FP16", "HALF"), 2),
    (("FP32", "FLOAT", "INT32"), 4),
    (("INT64",), 8),
)


class _Described(NamedTuple):
    """Description of a layer by the engine inspector."""

    nodes: tuple[str, ...]
    bytes: int


def profile_engine(
    trt: Any,
    device: Device,
    log: Any,
    path: Path,
    manifest: Manifest,
    inputs: Tensors,
    seconds: float,
) -> LayerProfile:
    """Profile an engine on a batch of inputs.  The device must be current.

    `seconds` is the duration of a run without a profiler.  The artifact must have been loaded
    before, which verifies it.  Raises BackendError if TensorRT fails.
    """
    recorder = _recorder(trt)
    with ExitStack() as stack:
        engine = stack.enter_context(LoadedEngine(trt, path, manifest, log))
        context = engine.create_context(None)
        for name, value in inputs.items():
            context.set_input_shape(name, value.shape)
        description = engine.describe(context)
        context.profiler = recorder
        execution = Execution(device, context, log, captures=False)
        del context  # which must be gone before the engine
        stack.callback(execution.close)
        slot = Slot(device, execution, manifest)
        stack.callback(slot.close)

        def run() -> None:
            recorder.runs.append([])
            slot.start(inputs)
            slot.finish()

        run()  # ignored by `as_layer_profile`
        repeat(run)
    if not recorder.runs[-1]:
        raise BackendError(f"{path}: TensorRT reports no layer times: run without --roofline")
    return as_layer_profile(recorder.runs, seconds, description, *_counted(path, manifest, inputs))


def as_layer_profile(
    runs: Sequence[Sequence[tuple[str, float]]],
    seconds: float,
    description: str,
    macs: Mapping[str, int],
    notes: Iterable[str] = (),
) -> LayerProfile:
    """Combine the executed layers with the multiply-adds of the graph's nodes.

    A node may be split over several kernels, so multiply-adds are kept in layers of their own with
    a time of zero; summed by branch, both are right.

    Args:
        runs: Names and seconds of the layers, for at least two runs; the first is ignored.
        seconds: Duration of a run without a profiler.
        description: JSON of the engine inspector.
        macs: Multiply-adds by node of the ONNX graph.
        notes: Limitations of the counts.
    """
    described = _described(description)
    unknown = _Described((), 0)
    names = [name for name, _ in runs[-1]]
    # TensorRT for RTX may switch to better kernels after compiling them in the background.
    alike = [run for run in runs[1:] if [name for name, _ in run] == names]
    times = medians([[taken for _, taken in run] for run in alike])
    layers = []
    for name, taken in zip(names, times, strict=True):
        found = described.get(name, unknown)
        layers.append(ProfiledLayer(found.nodes, taken, 0, found.bytes))
    notes = list(notes)
    if not any(layer.nodes for layer in layers):
        notes.append(
            "the engine does not describe its layers: build it again with `dsunet-export trt`"
        )
    counted = [ProfiledLayer((node,), 0.0, count, 0) for node, count in macs.items()]
    return LayerProfile([*layers, *counted], seconds, notes)


def _recorder(trt: Any) -> Any:
    """Create a profiler that appends each layer and its seconds to the last of its `runs`."""

    class Recorder(trt.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.runs: list[list[tuple[str, float]]] = []

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.runs[-1].append((layer_name, ms / 1e3))

    return Recorder()


def _counted(
    path: Path, manifest: Manifest, inputs: Tensors
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Count multiply-adds of the engine's ONNX graph; with a note if that is not possible."""
    graph = path.with_name(manifest.graph.name)
    try:
        found = read_manifest(graph) if graph.is_file() else None
        if found is None or found.graph.sha256 != manifest.graph.sha256:
            return {}, (f"multiply-adds not counted: {graph.name} is not next to the engine",)
        return count_graph(graph, found, inputs), ()
    except RuntimeFault as fault:
        return {}, (f"multiply-adds not counted: {fault}",)


def _described(description: str) -> dict[str, _Described]:
    """Descriptions by layer name; empty if the engine contains names only."""
    layers = json.loads(description).get("Layers", [])
    return {
        layer["Name"]: _Described(tuple(_NODE.findall(layer.get("Metadata", ""))), _bytes(layer))
        for layer in layers
        if isinstance(layer, dict)
    }


def _bytes(layer: Mapping[str, Any]) -> int:
    """Bytes of inputs, outputs and weights."""
    moved = 0
    for tensor in (*layer.get("Inputs", ()), *layer.get("Outputs", ())):
        shape: Shape = tuple(tensor.get("Dimensions", ()))
        type_name = f"{tensor.get('Datatype', '')} {tensor.get('Format/Datatype', '')}"
        moved += max(0, math.prod(shape)) * _element_size(type_name)
    for weights in (layer.get("Weights"), layer.get("Bias")):
        if isinstance(weights, dict):
            moved += int(weights.get("Count", 0)) * _element_size(str(weights.get("Type", "")))
    return moved


def _element_size(type_name: str) -> int:
    """Bytes per element; 0 for an unknown type."""
    upper = type_name.upper()
    return next((size for names, size in _TYPES if any(name in upper for name in names)), 0)
