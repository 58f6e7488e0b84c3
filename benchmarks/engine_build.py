"""Effect of the export on the engine: `dsunet-export onnx --precision fp16` against a plain export.

The plain export is `torch.onnx.export` of `model.half()`.  Both engines are built by the same code
with TensorRT for RTX.

Conditions: `tensors` form, randomly initialised weights, batch 1, one compute capability, no GPU.
Both graphs are exported once.  Each build runs in a new process; the variants are interleaved.
Build time is the time from the parsed network to the plan; peak memory is the resident set of the
process.  Generated kernels are counted by their distinct names in the plan; the JIT on the GPU
compiles each of them.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from pathlib import Path
from typing import Any

from common import (
    add_preset_option,
    add_rounds_option,
    in_new_process,
    make_parser,
    peak_bytes,
    ratio,
    summary,
    write,
)

from dsunet_export.options import ExportPrecision

KERNEL = re.compile(rb"(?:__myl|_gemm)_\w+_0x[0-9a-f]+")
FUSED_ATTENTION = b"_gemm_mha"


def export(preset: str, folder: Path) -> dict[str, Path]:
    """Export both graphs in FP16."""
    from exports import export_ours, export_plain, new_model

    graphs = {name: folder / f"{name}.onnx" for name in ("plain", "ours")}
    export_plain(new_model(preset), graphs["plain"], ExportPrecision.FP16)
    export_ours(new_model(preset), graphs["ours"], precision=ExportPrecision.FP16)
    return graphs


def build(path: Path, capability: str) -> tuple[bytes, dict[str, Any]]:
    """Parse the graph and build an engine for the target; return the plan and its statistics."""
    import tensorrt_rtx as trt

    lines = []

    class Log(trt.ILogger):  # type: ignore[misc]
        def log(self, severity: trt.ILogger.Severity, message: str) -> None:
            lines.append(message)

    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network()
    if not trt.OnnxParser(network, log).parse_from_file(str(path)):
        raise RuntimeError(lines[-1])
    config = builder.create_builder_config()
    # As in `dsunet-export trt`: float32 is not computed in TF32.
    config.clear_flag(trt.BuilderFlag.TF32)
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, capability), 0)
    start = time.perf_counter()
    plan = bytes(builder.build_serialized_network(network, config))
    seconds = time.perf_counter() - start
    (activation,) = re.findall(r"Total Activation Memory: (\d+)", "\n".join(lines))
    (weights,) = re.findall(r"Total Weights Memory: (\d+)", "\n".join(lines))
    kernels = set(KERNEL.findall(plan))
    return plan, {
        "build_s": seconds,
        "peak_host_mb": peak_bytes() / 1e6,
        "engine_mb": len(plan) / 1e6,
        "activation_mb": int(activation) / 1e6,
        "weights_mb": int(weights) / 1e6,
        "layers": network.num_layers,
        "generated_kernels": len(kernels),
        "of_them_fused_attention": sum(name.startswith(FUSED_ATTENTION) for name in kernels),
    }


def main() -> None:
    parser = make_parser(__doc__)
    add_preset_option(parser, "large")
    parser.add_argument(
        "--capability",
        default="SM89",
        help="Compute capability, as TensorRT for RTX names it (default: %(default)s).",
    )
    add_rounds_option(parser, 3)
    parser.add_argument(
        "--build",
        type=Path,
        help="Internal: build one graph in this process and print the results.",
    )
    arguments = parser.parse_args()
    if arguments.build:
        _, figures = build(arguments.build, arguments.capability)
        print(json.dumps(figures))
        return

    with tempfile.TemporaryDirectory() as folder:
        graphs = export(arguments.preset, Path(folder))
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in graphs}
        command = (__file__, "--capability", arguments.capability, "--build")
        for _ in range(arguments.rounds):
            for name, graph in graphs.items():
                runs[name].append(in_new_process(*command, graph))
                print(name, runs[name][-1], flush=True)

    seconds = {name: [run["build_s"] for run in done] for name, done in runs.items()}
    write(
        f"engine_build_{arguments.preset}",
        {
            "capability": arguments.capability,
            "variants": {
                name: {
                    **done[0],
                    "build_s": summary(seconds[name]),
                    "peak_host_mb": max(run["peak_host_mb"] for run in done),
                }
                for name, done in runs.items()
            },
            "build_ours_over_plain": ratio(seconds["ours"], seconds["plain"]),
        },
    )


if __name__ == "__main__":
    main()
