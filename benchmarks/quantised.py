"""Latency and size in INT8 on a CPU, compared with ONNX Runtime's dynamic quantisation.

fp32     `dsunet-export onnx`
int8     `dsunet-export onnx --precision int8`
dynamic  a bare `torch.onnx.export` of the plain model, then `quantize_dynamic` of its matmuls

Conditions: `tensors` form, batch 1, randomly initialised weights, the same random inputs for all,
all cores, interleaved.  For the accuracy with trained weights see demonstration.py.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from common import (
    measure_interleaved_calls,
    preset_parser,
    print_times,
    ratio,
    schedule_of,
    summaries,
    write,
)
from exports import calibration_images, export_ours, export_plain, new_model
from onnxruntime.quantization import quantize_dynamic

from dsunet_export.options import ExportPrecision
from dsunet_runtime.bench.workload import Call


def main() -> None:
    parser = preset_parser(__doc__, "large")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        graphs = make_graphs(arguments.preset, Path(folder))
        sizes = {name: _bytes(path) for name, path in graphs.items()}
        calls = {name: _call(path) for name, path in graphs.items()}
        times = measure_interleaved_calls(calls, schedule_of(arguments))
    print_times(times)
    write(
        f"quantised_{arguments.preset}",
        {
            "preset": arguments.preset,
            "bytes": sizes,
            "times": summaries(times),
            "int8_over": {n: ratio(times["int8"], times[n]) for n in ("fp32", "dynamic")},
        },
    )


def make_graphs(preset: str, folder: Path) -> dict[str, Path]:
    graphs = {name: folder / name / "graph.onnx" for name in ("fp32", "int8", "dynamic", "bare")}
    for path in graphs.values():
        path.parent.mkdir()
    export_ours(new_model(preset), graphs["fp32"])
    images = calibration_images(folder)
    export_ours(new_model(preset), graphs["int8"], precision=ExportPrecision.INT8, images=images)
    bare = graphs.pop("bare")
    export_plain(new_model(preset), bare)
    quantize_dynamic(
        bare,
        graphs["dynamic"],
        op_types_to_quantize=["MatMul", "Gemm"],
        use_external_data_format=True,
        extra_options={"MatMulConstBOnly": True},
    )
    return graphs


def _bytes(graph: Path) -> int:
    return sum(file.stat().st_size for file in graph.parent.iterdir())


def _call(graph: Path) -> Call:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session: Any = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(0)
    inputs = {
        spec.name: generator.standard_normal(spec.shape, np.float32)
        for spec in session.get_inputs()
    }
    return lambda: session.run(None, inputs)


if __name__ == "__main__":
    main()
