"""ONNX Runtime and OpenVINO on a CPU, with artifacts of three precisions.

onnxruntime_fp32, onnxruntime_int8                `--provider cpu`, which runs no bf16
openvino_fp32, openvino_bf16, openvino_int8       `--provider openvino`

Conditions: `tensors` form, batch 1, randomly initialised weights, the same image for all, all
cores, interleaved in one process.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
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
from exports import calibration_images, export_ours, new_model

import dsunet_runtime
from dsunet_export.options import ExportPrecision
from dsunet_runtime import processor
from dsunet_runtime.bench.measurement import Schedule
from dsunet_runtime.bench.workload import Call
from dsunet_runtime.provider import Provider

FIRST = "onnxruntime_fp32"
VARIANTS = {
    FIRST: (Provider.CPU, ExportPrecision.FP32),
    "onnxruntime_int8": (Provider.CPU, ExportPrecision.INT8),
    "openvino_fp32": (Provider.OPENVINO, ExportPrecision.FP32),
    "openvino_bf16": (Provider.OPENVINO, ExportPrecision.BF16),
    "openvino_int8": (Provider.OPENVINO, ExportPrecision.INT8),
}


def main() -> None:
    parser = preset_parser(__doc__, "large")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        images = calibration_images(folder)
        graphs = {
            precision: export(arguments.preset, precision, folder, images)
            for precision in sorted({precision for _, precision in VARIANTS.values()})
        }
        found = measure(graphs, min(images.iterdir()), schedule_of(arguments))
    write(f"cpu_providers_{arguments.preset}", {"preset": arguments.preset, **found})


def measure(
    graphs: Mapping[ExportPrecision, Path], image: Path, schedule: Schedule
) -> dict[str, Any]:
    with ExitStack() as loaded:
        calls = {
            name: open_call(graphs[precision], provider, image, loaded)
            for name, (provider, precision) in VARIANTS.items()
        }
        times = measure_interleaved_calls(calls, schedule)
    print_times(times)
    return {
        "instructions": processor.fast_instructions(),
        "times": summaries(times),
        "over_first": {
            name: ratio(seconds, times[FIRST]) for name, seconds in times.items() if name != FIRST
        },
    }


def export(preset: str, precision: ExportPrecision, folder: Path, images: Path) -> Path:
    graph = folder / f"{precision}.onnx"
    calibration = images if precision is ExportPrecision.INT8 else None
    export_ours(new_model(preset), graph, precision=precision, images=calibration)
    return graph


def open_call(graph: Path, provider: Provider, image: Path, loaded: ExitStack) -> Call:
    segmenter = loaded.enter_context(
        dsunet_runtime.load(graph, provider=provider, selftest="never")
    )
    prepared = [segmenter.prepare(image)]
    return lambda: segmenter.infer(prepared)


if __name__ == "__main__":
    main()
