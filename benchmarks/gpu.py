"""Latency of one image on a GPU: PyTorch, ONNX Runtime, TensorRT for RTX, in float32 and float16.

**Not run yet.**

torch_eager, torch_compiled    the model; in float16, `model.half()`
onnxruntime_plain, _ours       CUDA provider; a plain `torch.onnx.export`, and `dsunet-export onnx`
tensorrt_plain, _ours          engines of the same two graphs, built and run by the same code

Conditions: `tensors` form, batch 1, randomly initialised weights, inputs and outputs in GPU memory,
no TF32; a call ends when the GPU has finished it.  All variants are interleaved in one process.
Variants that this machine does not support are skipped; the result file contains the reason.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common import preset_parser, print_times, ratio, schedule_of, summaries, write
from gpu_calls import (
    measure_with_monitor,
    onnxruntime_call,
    open_device,
    open_session,
    tensorrt_call,
    torch_call,
)

from dsunet.torch_device import TorchDevice
from dsunet_export.options import ExportPrecision
from dsunet_runtime.artifact.flavor import Flavor, rtx_name
from dsunet_runtime.backends.onnxruntime.backend import check_provider
from dsunet_runtime.bench.workload import Call
from dsunet_runtime.cuda import Gpu
from dsunet_runtime.errors import BackendError
from dsunet_runtime.extras import install_command
from dsunet_runtime.provider import Provider

PRECISIONS = (ExportPrecision.FP32, ExportPrecision.FP16)


def main() -> None:
    parser = preset_parser(__doc__, "large")
    arguments = parser.parse_args()
    gpu = open_device(TorchDevice.CUDA)
    assert gpu is not None
    missing = left_out(gpu)
    for reason in missing.values():
        print(f"not measured: {reason}")
    runners = {name: of for name, of in RUNNERS.items() if name not in missing}
    with tempfile.TemporaryDirectory() as folder:
        calls = {
            f"{name}_{precision}": call
            for precision in PRECISIONS
            for name, call in variants(arguments.preset, precision, runners, Path(folder)).items()
        }
        times, seen = measure_with_monitor(calls, schedule_of(arguments), gpu)
    print_times(times)
    found = {"left_out": missing, **seen, **summarise(times)}
    write(f"gpu_{arguments.preset}", {"preset": arguments.preset, **found}, gpu)


def left_out(gpu: Gpu) -> dict[str, str]:
    """Return the reasons why runners cannot be measured on this machine, by name."""
    found = {}
    try:
        check_provider(Provider.CUDA)
    except BackendError as error:
        found["onnxruntime"] = str(error)
    try:
        known = dir(Flavor.RTX.load().ComputeCapability)
    except ImportError:
        found["tensorrt"] = f"TensorRT for RTX is not installed: {install_command('rtx')}"
    else:
        if rtx_name(gpu.compute_capability) not in known:
            found["tensorrt"] = f"TensorRT for RTX builds no engine for the {gpu.name}"
    return found


def summarise(times: Mapping[str, list[float]]) -> dict[str, Any]:
    """Summarise all variants, with the ratios of this project's export to the plain one."""
    return {
        "times": summaries(times),
        "ours_over_plain": {
            f"{runner}_{precision}": ratio(times[ours], times[f"{runner}_plain_{precision}"])
            for runner in RUNNERS
            for precision in PRECISIONS
            if (ours := f"{runner}_ours_{precision}") in times
        },
    }


def variants(
    preset: str,
    precision: ExportPrecision,
    runners: Mapping[str, Callable[..., Call]],
    folder: Path,
) -> dict[str, Call]:
    """Return the calls of all variants in one precision, by name."""
    import torch
    from exports import export_ours, export_plain, new_model

    from dsunet_export.graph.forms import TensorsGraph, example_inputs

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
        # Inputs and outputs of our export are float32 in both precisions.
        calls[f"{runner}_ours"] = call_of(graphs["ours"], inputs)
    return calls


RUNNERS: dict[str, Callable[..., Call]] = {
    "onnxruntime": lambda graph, inputs: onnxruntime_call(open_session(graph), inputs),
    "tensorrt": tensorrt_call,
}


if __name__ == "__main__":
    main()
