"""Latency of one image on the CPU: PyTorch eager, ONNX Runtime plain, ONNX Runtime rewritten.

Regime: `tensors` form, batch 1, float32, random weights, inputs drawn anew for every round, all
cores.  One process holds all three; a round times each once, beginning with another one every time,
and the first round is not counted.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from common import ratio, summary, write

from dsunet import DSUNetConfig, random_model
from dsunet_export.graph import example_inputs
from dsunet_export.onnx import export_onnx
from dsunet_export.options import ExportOptions, WeightsOrigin
from dsunet_runtime.manifest import InputForm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="large")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    config = DSUNetConfig.preset(arguments.preset)

    with tempfile.TemporaryDirectory() as folder:
        sessions = {}
        for name, rewrite in (("onnxruntime_plain", False), ("onnxruntime_rewritten", True)):
            path = Path(folder) / f"{name}.onnx"
            options = ExportOptions(InputForm.TENSORS, rewrite=rewrite, verify=False)
            export_onnx(
                random_model(config),
                WeightsOrigin.random(0),
                path,
                options,
                lambda step, seconds: None,
            )
            sessions[name] = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        model = random_model(config)

        generator = np.random.default_rng(0)
        times: dict[str, list[float]] = {"pytorch_eager": [], **{name: [] for name in sessions}}
        for counted in range(-1, arguments.rounds):
            order = [*times][counted % 3 :] + [*times][: counted % 3]
            shapes = {name: x.shape for name, x in example_inputs(config, 1).items()}
            inputs = {n: generator.standard_normal(s, np.float32) for n, s in shapes.items()}
            tensors = {name: torch.from_numpy(value) for name, value in inputs.items()}
            for name in order:
                start = time.perf_counter()
                if name == "pytorch_eager":
                    with torch.inference_mode():
                        model(**tensors)
                else:
                    sessions[name].run(None, inputs)
                if counted >= 0:
                    times[name].append(time.perf_counter() - start)

    for name, seconds in times.items():
        figures = summary(seconds)
        print(f"{name:24}{figures['median_s']:8.3f} s  ({min(seconds):.3f} to {max(seconds):.3f})")
    ours = times["onnxruntime_rewritten"]
    write(
        f"latency_cpu_{arguments.preset}",
        {
            "times": {name: summary(seconds) for name, seconds in times.items()},
            "rewritten_over_plain": ratio(ours, times["onnxruntime_plain"]),
            "rewritten_over_pytorch": ratio(ours, times["pytorch_eager"]),
        },
    )


if __name__ == "__main__":
    main()
