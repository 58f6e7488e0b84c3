"""What the graph's form does to the engine: `dsunet-export onnx --precision fp16` against a plain
export in half precision, both built by the same few lines of TensorRT for RTX.

Regime: `tensors` form, random weights, batch 1, one compute capability, no GPU.  Both graphs are
exported once; every build is a new process, the variants in turn.  Build time counts from a parsed
network to a plan; peak memory is the process's whole resident set.  Generated kernels are counted
by their names in the plan, each distinct one once: the GPU's JIT compiles every one of them.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from common import ratio, summary, write

KERNEL = re.compile(rb"(?:__myl|_gemm)_\w+_0x[0-9a-f]+")
FUSED_ATTENTION = b"_gemm_mha"


def export_plain(preset: str, path: Path) -> None:
    """PyTorch's exporter as its documentation shows it, on the model in half precision."""
    import torch

    from dsunet import DSUNetConfig, random_model
    from dsunet_export.graph import TensorsGraph, example_inputs

    warnings.simplefilter("ignore")
    config = DSUNetConfig.preset(preset)
    module = TensorsGraph(random_model(config)).eval().half()
    inputs = tuple(value.half() for value in example_inputs(config, 1).values())
    program = torch.onnx.export(module, inputs, dynamo=True, verbose=False)
    if program is None:
        raise RuntimeError("PyTorch gave no program")
    program.save(path, external_data=True)


def export_ours(preset: str, path: Path) -> None:
    """`dsunet-export onnx --precision fp16`, with a fixed batch, as the plain export has it."""
    command = ["dsunet-export", "onnx", "--preset", preset, "--random-weights", "--batch", "1"]
    command += ["--input", "tensors", "--precision", "fp16", "-o", str(path)]
    subprocess.run([Path(sys.executable).with_name(command[0]), *command[1:]], check=True)


EXPORTS = {"plain": export_plain, "ours": export_ours}


def build(path: Path, capability: str) -> dict[str, Any]:
    """The few lines: parse, name the target, build; and what the log and the plan then say."""
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
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, capability), 0)
    start = time.perf_counter()
    plan = bytes(builder.build_serialized_network(network, config))
    seconds = time.perf_counter() - start
    (activation,) = re.findall(r"Total Activation Memory: (\d+)", "\n".join(lines))
    (weights,) = re.findall(r"Total Weights Memory: (\d+)", "\n".join(lines))
    kernels = set(KERNEL.findall(plan))
    return {
        "build_s": seconds,
        "peak_host_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "engine_mb": len(plan) / 1e6,
        "activation_mb": int(activation) / 1e6,
        "weights_mb": int(weights) / 1e6,
        "layers": network.num_layers,
        "generated_kernels": len(kernels),
        "of_them_fused_attention": sum(name.startswith(FUSED_ATTENTION) for name in kernels),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="large")
    parser.add_argument("--capability", default="SM89")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--build", type=Path, help="Build one graph, here, and print its figures.")
    arguments = parser.parse_args()
    if arguments.build:
        print(json.dumps(build(arguments.build, arguments.capability)))
        return

    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in EXPORTS}
    with tempfile.TemporaryDirectory() as folder:
        graphs = {name: Path(folder) / f"{name}.onnx" for name in EXPORTS}
        for name, export in EXPORTS.items():
            export(arguments.preset, graphs[name])
        for _ in range(arguments.rounds):
            for name, graph in graphs.items():
                command = [sys.executable, __file__, "--capability", arguments.capability]
                command += ["--build", str(graph)]
                output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                runs[name].append(json.loads(output.splitlines()[-1]))
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
