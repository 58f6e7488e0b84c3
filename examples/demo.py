"""The whole chain with the demonstration checkpoint: export, prediction, engine, evaluation.

Exports the checkpoint in float32 and float16, predicts the mask of a photograph, builds an engine,
and evaluates PyTorch and both artifacts on held-out synthetic scenes.  Prints two tables.  The
engine is built but not run, since that needs its target GPU.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import dsunet_runtime
from dsunet import checkpoint_sha256, demonstration_checkpoint, load_model
from dsunet_export import (
    EngineOptions,
    ExportOptions,
    ExportPrecision,
    MaskForm,
    WeightsOrigin,
    build_engine,
    choose_target,
    export_onnx,
)

ROOT = Path(__file__).parent.parent
PHOTOGRAPH = ROOT / "assets/camera.jpg"
FOLDER = ROOT / "build/demo"
GPU = "rtx4090"
SCENES, SCENES_SEED = 40, 2
"""Held-out scenes: the checkpoint was trained on those of other seeds."""


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    checkpoint = demonstration_checkpoint()
    float32, float16 = FOLDER / "nano.onnx", FOLDER / "nano16.onnx"
    print(f"{'stage':28}{'seconds':>8}  result")
    manifest = export(checkpoint, float32, ExportPrecision.FP32)
    export(checkpoint, float16, ExportPrecision.FP16)
    mask_photograph(float32)
    build(float16)

    start = time.perf_counter()
    scenes = FOLDER / "scenes"
    run("dsunet", "generate", "-o", scenes, "--count", SCENES, "--seed", SCENES_SEED)
    models = [checkpoint, float32, float16]
    table = run("dsunet", "evaluate", *models, "--dataset", f"held-out={scenes}")
    print_row("generate, predict, evaluate", start, f"{SCENES} scenes, three models")

    for check in manifest.verification:
        print(
            f"float32 against PyTorch, {check.inputs}: {check.output} within "
            f"{check.max_abs_error:.3g} {check.tolerance_unit}, mean {check.mean_abs_error:.2g}"
        )
    print(f"\n{table}")
    print(f"\nOverlay: {(FOLDER / 'camera_overlay.jpg').relative_to(ROOT)}")
    print("The checkpoint is small: docs/DEMONSTRATION.md has what it can do, and what it cannot")


def print_row(stage: str, start: float, result: str) -> None:
    """Print a row of the table."""
    print(f"{stage:28}{time.perf_counter() - start:8.2f}  {result}", flush=True)


def run(program: str, *arguments: object) -> str:
    """Run a command of a package, and return what it prints."""
    command = [sys.executable, "-m", program, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def export(checkpoint: Path, output: Path, precision: ExportPrecision) -> dsunet_runtime.Manifest:
    """Export the checkpoint as a verified artifact."""
    start = time.perf_counter()
    origin = WeightsOrigin(checkpoint.name, checkpoint_sha256(checkpoint))
    # The paper's form of masks, so that the metrics of the artifacts are comparable with PyTorch's.
    options = ExportOptions(mask_form=MaskForm.STRETCHED, precision=precision)
    manifest = export_onnx(
        load_model(checkpoint), origin, output, options, lambda step, seconds: None
    )
    fewer = 1 - manifest.macs / manifest.rewrites[0].macs_before
    result = (
        f"{output.relative_to(ROOT)}, {output.stat().st_size / 1e6:,.1f} MB, "
        f"{manifest.macs / 1e9:,.2f} G multiply-adds, {fewer:.1%} fewer than the unoptimised graph"
    )
    print_row(f"export, verify, {manifest.precision.compute}", start, result)
    return manifest


def mask_photograph(artifact: Path) -> None:
    """Write the mask and the overlay of the photograph."""
    with dsunet_runtime.load(artifact) as segmenter:
        start = time.perf_counter()
        mask = segmenter(PHOTOGRAPH)
        print_row(
            "photograph to mask", start, f"{mask.shape[1]}×{mask.shape[0]}, ONNX Runtime, CPU"
        )
    run("dsunet_runtime", "predict", artifact, PHOTOGRAPH, "-o", FOLDER, "--overlay")


def build(artifact: Path) -> None:
    """Build an engine of the float16 artifact."""
    start = time.perf_counter()
    output = FOLDER / "nano.engine"
    options = EngineOptions()
    target = choose_target([GPU], options=options)
    built = build_engine(artifact, output, target, options, lambda step, seconds: None).engine
    description = ""
    if built is not None:
        report = built.precision_report
        fraction = report.weight_bytes_reduced / report.weight_bytes
        description = (
            f"{built.file.size / 1e6:,.1f} MB, {fraction:.1%} of the weights' bytes in float16, "
        )
    print_row(
        f"engine for {GPU}", start, f"{output.relative_to(ROOT)}, {description}built, not run"
    )


if __name__ == "__main__":
    main()
