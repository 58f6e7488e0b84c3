"""Profile of an ONNX file by ONNX Runtime on the CPU."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from dsunet_runtime.artifact.manifest import Manifest
from dsunet_runtime.backends.interface import Tensors
from dsunet_runtime.backends.onnxruntime.backend import (
    add_linked_weights,
    import_onnxruntime,
    session_options,
)
from dsunet_runtime.backends.onnxruntime.execution_providers import CPU
from dsunet_runtime.bench.roofline.layer_profile import LayerProfile, ProfiledLayer, medians, repeat
from dsunet_runtime.bench.roofline.node_cost import Node, NodeTensor
from dsunet_runtime.errors import BackendError
from dsunet_runtime.message_text import reason

_NODE, _RUN = "_kernel_time", "model_run"
"""Suffix of the names of a node's events, and name of the event of a complete run."""


def profile_onnx(
    path: Path, manifest: Manifest, inputs: Tensors, threads: int | None
) -> LayerProfile:
    """Profile the graph as optimised by ONNX Runtime, on a batch of inputs.

    The artifact must have been loaded before, which verifies it.  Raises BackendError if ONNX
    Runtime fails.
    """
    runtime = import_onnxruntime()
    session, events = _record(
        runtime,
        path,
        manifest,
        session_options(runtime, threads, manifest),
        # `as_layer_profile` ignores the first run.
        lambda session: (session.run(None, inputs), repeat(lambda: session.run(None, inputs))),
    )
    # After `end_profiling` the session runs without profiler.
    return as_layer_profile(events, statistics.median(repeat(lambda: session.run(None, inputs))))


def count_graph(path: Path, manifest: Manifest, inputs: Tensors) -> dict[str, int]:
    """Count the multiply-adds for a batch of inputs, by the names of the graph's nodes.

    Raises BackendError if the CPU cannot run the graph, for example in bfloat16.
    """
    runtime = import_onnxruntime()
    options = session_options(runtime, None)
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    _, events = _record(runtime, path, manifest, options, lambda session: session.run(None, inputs))
    (run,) = _runs(events)
    return {_name(event): _node(event).macs or 0 for event in run}


def as_layer_profile(events: Iterable[dict[str, Any]], seconds: float) -> LayerProfile:
    """Convert Chrome trace events of at least two runs to a profile; the first run is ignored.

    `seconds` is the duration of a run without a profiler.
    """
    runs = _runs(events)[1:]
    times = medians([[event["dur"] / 1e6 for event in run] for run in runs])
    nodes = [_node(event) for event in runs[-1]]
    layers = [
        ProfiledLayer((_name(event),), taken, node.macs or 0, node.bytes)
        for event, node, taken in zip(runs[-1], nodes, times, strict=True)
    ]
    uncounted = sorted({node.operator for node in nodes if node.macs is None})
    notes = [f"multiply-adds not counted, shapes are missing: {name}" for name in uncounted]
    return LayerProfile(layers, seconds, notes)


def _record(
    runtime: Any, path: Path, manifest: Manifest, options: Any, run: Callable[[Any], object]
) -> tuple[Any, list[dict[str, Any]]]:
    """Open a profiled session, run it by `run`, and return the session and its events."""
    with tempfile.TemporaryDirectory() as folder:
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        providers = [CPU]
        mappings = add_linked_weights(options, path, manifest)
        try:
            session = runtime.InferenceSession(path, options, providers=providers)
            del mappings
            run(session)
        except Exception as error:  # ONNX Runtime's exceptions have no base of their own
            raise BackendError(f"{path}: cannot be profiled: {reason(error)}") from error
        try:
            return session, json.loads(Path(session.end_profiling()).read_bytes())
        except (OSError, ValueError) as error:  # a full disk cuts it short
            raise BackendError(f"{path}: its profile is not readable: {reason(error)}") from error


def _runs(events: Iterable[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Group the events of nodes by run; the event of a run follows those of its nodes."""
    runs: list[list[dict[str, Any]]] = [[]]
    for event in events:
        if event["name"] == _RUN:
            runs.append([])
        elif event["name"].endswith(_NODE):
            runs[-1].append(event)
    return runs[:-1]


def _name(event: dict[str, Any]) -> str:
    name: str = event["name"]
    return name.removesuffix(_NODE)


def _node(event: dict[str, Any]) -> Node:
    found = event["args"]
    inputs, outputs = _tensors(found["input_type_shape"]), _tensors(found["output_type_shape"])
    return Node(found["op_name"], inputs, outputs)


def _tensors(described: Sequence[dict[str, list[int]]]) -> list[NodeTensor]:
    """From `[{"float": [1, 3]}, …]`."""
    return [NodeTensor(dtype, tuple(shape)) for one in described for dtype, shape in one.items()]
