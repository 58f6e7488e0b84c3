"""Latency of one image on the CPU: PyTorch eager and compiled, ONNX Runtime with two exports.

pytorch_eager            eager mode
pytorch_compiled         `torch.compile`; the first call, which compiles, is timed separately
onnxruntime_bare         a bare `torch.onnx.export` of the original model
onnxruntime_rewritten    `dsunet-export onnx`

Conditions: `tensors` form, batch 1, float32, randomly initialised weights, the same random inputs
for all, all cores.  All four are measured interleaved in one process.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from common import (
    measure_interleaved_calls,
    preset_parser,
    print_times,
    ratio,
    schedule_of,
    summaries,
    write,
)

from dsunet_runtime.bench.workload import Call

PLAIN, OURS = "onnxruntime_bare", "onnxruntime_rewritten"


def main() -> None:
    parser = preset_parser(__doc__, "large")
    parser.add_argument(
        "--no-compile", action="store_true", help="Skip torch.compile, which needs a C++ compiler."
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # An empty cache, so that compilation is timed.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{folder}/inductor"
        sessions, macs = open_sessions(arguments.preset, Path(folder))
        found = measure(arguments, sessions)
    write(f"latency_cpu_{arguments.preset}", {"preset": arguments.preset, "macs": macs, **found})


def open_sessions(preset: str, folder: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """Return calls of ONNX Runtime with both exports, and their multiply-adds."""
    import onnxruntime
    from exports import export_ours, export_plain, new_model

    export_plain(new_model(preset), folder / f"{PLAIN}.onnx")
    manifest = export_ours(new_model(preset), folder / f"{OURS}.onnx")
    gc.collect()
    sessions = {
        name: onnxruntime.InferenceSession(
            folder / f"{name}.onnx", providers=["CPUExecutionProvider"]
        )
        for name in (PLAIN, OURS)
    }
    return sessions, {PLAIN: manifest.rewrites[0].macs_before, OURS: manifest.macs}


def measure(arguments: argparse.Namespace, sessions: dict[str, Any]) -> dict[str, Any]:
    import torch
    from exports import new_model

    from dsunet_export.graph.forms import TensorsGraph, example_inputs

    model = new_model(arguments.preset)
    generator = torch.Generator().manual_seed(0)
    shapes = {name: value.shape for name, value in example_inputs(model.config, 1).items()}
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    arrays = {name: value.numpy() for name, value in tensors.items()}
    graph = TensorsGraph(model)
    modules = {"pytorch_eager": graph}
    if not arguments.no_compile:
        modules["pytorch_compiled"] = torch.compile(graph)  # type: ignore[assignment]

    with torch.inference_mode():
        start = time.perf_counter()
        modules.get("pytorch_compiled", graph)(**tensors)
        first_call = time.perf_counter() - start
    times = measure_interleaved_calls(
        {
            **{name: _torch_call(module, tensors) for name, module in modules.items()},
            **{name: _session_call(session, arrays) for name, session in sessions.items()},
        },
        schedule_of(arguments),
    )
    print_times(times)
    return {
        "times": summaries(times),
        "compile_s": None if arguments.no_compile else first_call,
        "ours_over": {
            name: ratio(times[OURS], seconds) for name, seconds in times.items() if name != OURS
        },
    }


def _session_call(session: Any, arrays: dict[str, Any]) -> Call:
    return lambda: session.run(None, arrays)


def _torch_call(module: Any, tensors: dict[str, Any]) -> Call:
    import torch

    # Inference mode is per thread, and each measurement has its own thread.
    call: Call = torch.inference_mode()(lambda: module(**tensors))
    return call


if __name__ == "__main__":
    main()
