"""Latency of one image on a GPU: PyTorch, ONNX Runtime, TensorRT for RTX, in float32 and float16.

**Not run yet**, for want of a GPU.

torch_eager, torch_compiled    the model, in half precision `model.half()`
onnxruntime_plain, _ours       CUDA provider; a plain `torch.onnx.export`, and `dsunet-export onnx`
tensorrt_plain, _ours          engines of the same two graphs, built and run by the same few lines

Regime: `tensors` form, batch 1, random weights, inputs and outputs in GPU memory, no TF32 anywhere;
a call ends when the GPU has computed it.  All take turns, in one process.  What this machine cannot
run is left out, and the result says why.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common import add_plan, in_turns, plan_of, print_times, ratio, summary, write

from dsunet_export.options import ExportPrecision
from dsunet_runtime.backends.onnxruntime import check_provider
from dsunet_runtime.bench.subjects import Call
from dsunet_runtime.bench.watching import Watch
from dsunet_runtime.cuda import Gpu, find
from dsunet_runtime.errors import BackendError
from dsunet_runtime.flavor import Flavor, rtx_name
from dsunet_runtime.provider import Provider

PRECISIONS = (ExportPrecision.FP32, ExportPrecision.FP16)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="large")
    add_plan(parser)
    arguments = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        raise SystemExit(
            "gpu.py: PyTorch finds no NVIDIA GPU here: run it where `dsunet-export doctor` shows "
            "one, with its driver"
        )
    torch.backends.cudnn.allow_tf32 = False
    gpu = find().gpus()[0]
    missing = left_out(gpu)
    for reason in missing.values():
        print(f"left out: {reason}")
    runners = {name: of for name, of in RUNNERS.items() if name not in missing}
    with tempfile.TemporaryDirectory() as folder:
        calls = {
            f"{name}_{precision}": call
            for precision in PRECISIONS
            for name, call in ways(arguments.preset, precision, runners, Path(folder)).items()
        }
        with Watch(gpu) as watch:
            times = in_turns(calls, plan_of(arguments))
            watched = watch.found
    print_times(times)
    found = {
        "left_out": missing,
        "gpu_seen": watched and dataclasses.asdict(watched),
        "doubts": watched.doubts() if watched else [],
        **summarise(times),
    }
    write(f"gpu_{arguments.preset}", {"preset": arguments.preset, **found}, gpu)


def left_out(gpu: Gpu) -> dict[str, str]:
    """Why a runner cannot be measured here, by its name."""
    found = {}
    try:
        check_provider(Provider.CUDA)
    except BackendError as error:
        found["onnxruntime"] = str(error)
    try:
        known = dir(Flavor.RTX.load().ComputeCapability)
    except ImportError:
        found["tensorrt"] = "TensorRT for RTX is not installed: pip install 'dsunet[rtx]'"
    else:
        if rtx_name(gpu.compute_capability) not in known:
            found["tensorrt"] = f"TensorRT for RTX builds no engine for the {gpu.name}"
    return found


def summarise(times: Mapping[str, list[float]]) -> dict[str, Any]:
    """Median and spread of every way in every precision, and what ours is to plain."""
    return {
        "times": {name: summary(seconds) for name, seconds in times.items()},
        "ours_over_plain": {
            f"{runner}_{precision}": ratio(times[ours], times[f"{runner}_plain_{precision}"])
            for runner in RUNNERS
            for precision in PRECISIONS
            if (ours := f"{runner}_ours_{precision}") in times
        },
    }


def ways(
    preset: str,
    precision: ExportPrecision,
    runners: Mapping[str, Callable[..., Call]],
    folder: Path,
) -> dict[str, Call]:
    """What computes the preset in this precision: PyTorch, and each runner with both graphs."""
    import torch
    from exporting import export_ours, export_plain, new_model

    from dsunet_export.graph import TensorsGraph, example_inputs

    graphs = {name: folder / f"{name}_{precision}.onnx" for name in ("plain", "ours")}
    export_plain(new_model(preset), graphs["plain"], precision)
    export_ours(new_model(preset), graphs["ours"], precision=precision)
    gc.collect()

    model = new_model(preset)
    inputs = {
        name: torch.randn(value.shape, device="cuda")
        for name, value in example_inputs(model.config, 1).items()
    }
    module, own = TensorsGraph(model).eval().cuda(), inputs
    if precision is ExportPrecision.FP16:
        module, own = module.half(), {name: value.half() for name, value in inputs.items()}
    calls = {
        "torch_eager": torch_call(module, own),
        "torch_compiled": torch_call(torch.compile(module), own),
    }
    for runner, call_of in runners.items():
        calls[f"{runner}_plain"] = call_of(graphs["plain"], own)
        # Ours takes and gives float32 in both precisions.
        calls[f"{runner}_ours"] = call_of(graphs["ours"], inputs)
    return calls


def torch_call(module: Callable[..., Any], inputs: Mapping[str, Any]) -> Call:
    import torch

    # A mode belongs to a thread, and each turn has one of its own.
    @torch.inference_mode()
    def call() -> None:
        module(**inputs)
        torch.cuda.synchronize()

    return call


def onnxruntime_call(graph: Path, inputs: Mapping[str, Any]) -> Call:
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=Provider.CUDA.chain(None))
    binding = session.io_binding()
    for name, value in inputs.items():
        element = np.float16 if value.element_size() == 2 else np.float32
        binding.bind_input(name, "cuda", 0, element, tuple(value.shape), value.data_ptr())
    for output in session.get_outputs():
        binding.bind_output(output.name, "cuda")

    def call() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return call


def tensorrt_call(graph: Path, inputs: Mapping[str, Any]) -> Call:
    import tensorrt_rtx as trt
    import torch
    from engine_build import build

    major, minor = torch.cuda.get_device_capability()
    plan, _ = build(graph, rtx_name(f"{major}.{minor}"))
    runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
    engine = runtime.deserialize_cuda_engine(plan)
    context = engine.create_execution_context()
    stream = torch.cuda.Stream()
    tensors = dict(inputs)
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        if name not in tensors:
            half = engine.get_tensor_dtype(name) == trt.DataType.HALF
            element = torch.float16 if half else torch.float32
            shape = tuple(engine.get_tensor_shape(name))
            tensors[name] = torch.empty(shape, dtype=element, device="cuda")
        context.set_tensor_address(name, tensors[name].data_ptr())

    # The context keeps neither its engine nor its buffers alive.
    def call(alive: object = (runtime, engine, tensors)) -> None:
        if not context.execute_async_v3(stream.cuda_stream):
            raise SystemExit(f"gpu.py: TensorRT failed on {graph.name}")
        stream.synchronize()

    return call


RUNNERS: dict[str, Callable[..., Call]] = {
    "onnxruntime": onnxruntime_call,
    "tensorrt": tensorrt_call,
}


if __name__ == "__main__":
    main()
