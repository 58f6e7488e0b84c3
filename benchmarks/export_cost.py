"""Cost of an export: a bare `torch.onnx.export` of the original model against `export_onnx`.

Conditions: `tensors` form, randomly initialised weights, each run in a new process, the variants
interleaved.  Time is measured from a model in memory to files on disk; peak memory is the resident
set of the process.  `ours` includes the verification: two images by PyTorch and by ONNX Runtime.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

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
from exports import export_plain, new_model

from dsunet.network.model import DSUNet
from dsunet_export.onnx import export_onnx
from dsunet_export.options import ExportOptions, WeightsOrigin
from dsunet_runtime.artifact.manifest import InputForm


def run_bare(model: DSUNet, path: Path) -> dict[str, float]:
    """Export by PyTorch, batch 1."""
    start = time.perf_counter()
    export_plain(model, path)
    return {"total": time.perf_counter() - start}


def run_ours(model: DSUNet, path: Path) -> dict[str, float]:
    """Export by `dsunet-export onnx`, dynamic batch, verified."""
    steps: dict[str, float] = {}
    start = time.perf_counter()
    export_onnx(
        model,
        WeightsOrigin.random(0),
        path,
        ExportOptions(InputForm.TENSORS),
        lambda step, seconds: steps.update({step: seconds}),
    )
    return {"total": time.perf_counter() - start, **steps}


VARIANTS = {"bare": run_bare, "ours": run_ours}


def main() -> None:
    parser = make_parser(__doc__)
    add_preset_option(parser, "large")
    add_rounds_option(parser, 5)
    parser.add_argument(
        "--variant",
        choices=VARIANTS,
        help="Internal: run one variant in this process and print the results.",
    )
    arguments = parser.parse_args()
    if arguments.variant:
        with tempfile.TemporaryDirectory() as folder:
            model = new_model(arguments.preset)
            steps = VARIANTS[arguments.variant](model, Path(folder) / "model.onnx")
        print(json.dumps({"steps": steps, "peak_gb": peak_bytes() / 1e9}))
        return

    runs: dict[str, list[dict[str, dict[str, float]]]] = {name: [] for name in VARIANTS}
    for _ in range(arguments.rounds):
        for name in VARIANTS:
            runs[name].append(
                in_new_process(__file__, "--preset", arguments.preset, "--variant", name)
            )
            print(name, runs[name][-1], flush=True)

    totals = {name: [run["steps"]["total"] for run in done] for name, done in runs.items()}
    write(
        f"export_cost_{arguments.preset}",
        {
            "variants": {
                name: {
                    "steps": {
                        step: summary([run["steps"][step] for run in done])
                        for step in done[0]["steps"]
                    },
                    "peak_gb": max(float(run["peak_gb"]) for run in done),  # type: ignore[arg-type]
                }
                for name, done in runs.items()
            },
            "ours_over_bare": ratio(totals["ours"], totals["bare"]),
        },
    )


if __name__ == "__main__":
    main()
