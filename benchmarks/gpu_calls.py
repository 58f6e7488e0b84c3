"""Shared code of the GPU benchmarks: set-up, and calls of PyTorch, ONNX Runtime and TensorRT.

Inputs and outputs stay in GPU memory; a call ends when the GPU has finished it.  With `--device
cpu`, PyTorch and ONNX Runtime run on the CPU, to test the scripts.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from common import add_preset_option, make_parser, measure_interleaved_calls
from torch import Tensor

from dsunet.torch_device import TorchDevice
from dsunet_runtime.artifact.flavor import rtx_name
from dsunet_runtime.backends.onnxruntime.execution_providers import chain
from dsunet_runtime.bench.measurement import Schedule
from dsunet_runtime.bench.monitor import GpuMonitor
from dsunet_runtime.bench.workload import Call
from dsunet_runtime.cuda import Gpu, find
from dsunet_runtime.provider import Provider


def machine_parser(description: str | None) -> argparse.ArgumentParser:
    """Create a parser with the options --preset, --device and --work."""
    parser = make_parser(description)
    add_preset_option(parser, "large")
    parser.add_argument(
        "--device",
        choices=(TorchDevice.CUDA, TorchDevice.CPU),
        default=TorchDevice.CUDA,
        help="Device that computes (default: %(default)s).",
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("build/gpu"),
        help="Folder for artifacts (default: %(default)s).",
    )
    return parser


def open_device(device: str) -> Gpu | None:
    """Return the GPU and disable TF32; None for the CPU.  Exits with a message without a GPU."""
    if device == TorchDevice.CPU:
        return None
    if not torch.cuda.is_available():
        raise SystemExit(
            f"{Path(sys.argv[0]).name}: PyTorch finds no NVIDIA GPU: run it where "
            "`dsunet-export doctor` shows one, with its driver"
        )
    torch.backends.cudnn.allow_tf32 = False
    return find().gpus()[0]


def synchronize() -> None:
    """Wait for the GPU, if PyTorch uses one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure_with_monitor(
    calls: Mapping[str, Call], schedule: Schedule, gpu: Gpu | None
) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Measure calls interleaved, and return the times with the GPU readings meanwhile."""
    with GpuMonitor(gpu) as monitor:
        times = measure_interleaved_calls(calls, schedule)
        readings = monitor.readings
    return times, {
        "gpu_readings": readings and dataclasses.asdict(readings),
        "warnings": readings.warnings() if readings else [],
    }


def reason_of(error: Exception) -> str:
    """Return a shortened error message of a library."""
    return f"{type(error).__name__}: {error}"[:2000]


def torch_call(module: Callable[..., Any], inputs: Mapping[str, Tensor]) -> Call:
    # Inference mode is per thread, and each measurement has its own thread.
    @torch.inference_mode()
    def call() -> None:
        module(**inputs)
        synchronize()

    return call


def captured(module: Callable[..., Any], inputs: Mapping[str, Tensor]) -> Call:
    """Capture the call as a CUDA graph, which each call replays."""
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    with torch.inference_mode():
        with torch.cuda.stream(stream):
            for _ in range(3):  # initialisation of libraries cannot be captured
                module(**inputs)
        synchronize()
        with torch.cuda.graph(graph, stream=stream):
            result = module(**inputs)

    # The result keeps the memory that the graph writes to.
    def call(alive: object = (inputs, result)) -> None:
        graph.replay()
        synchronize()

    return call


def open_session(graph: Path, provider: Provider = Provider.CUDA) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(graph, providers=chain(provider))


def onnxruntime_call(session: Any, inputs: Mapping[str, Tensor]) -> Call:
    import numpy as np

    binding = session.io_binding()
    elements = {torch.float16: np.float16, torch.float32: np.float32, torch.uint8: np.uint8}
    (device,) = {value.device.type for value in inputs.values()}
    for name, value in inputs.items():
        shape = tuple(value.shape)
        binding.bind_input(name, device, 0, elements[value.dtype], shape, value.data_ptr())
    for output in session.get_outputs():
        binding.bind_output(output.name, device)

    # The binding stores addresses and does not keep tensors alive.
    def call(alive: object = inputs) -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return call


def tensorrt_call(graph: Path, inputs: Mapping[str, Tensor]) -> Call:
    import tensorrt_rtx as trt
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

    # The context does not keep its engine and buffers alive.
    def call(alive: object = (runtime, engine, tensors)) -> None:
        if not context.execute_async_v3(stream.cuda_stream):
            raise SystemExit(f"TensorRT failed on {graph.name}")
        stream.synchronize()

    return call
