"""The whole chain with the demonstration checkpoint: export, prediction, engine, evaluation.

Exports the checkpoint in float32 and float16, predicts the mask of a photograph, builds an engine,
and evaluates PyTorch and both artifacts on held-out synthetic scenes.  Prints two tables.  The
engine is built but not run, since that needs its target GPU.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import dsunet_runtime
from dsunet import checkpoint_sha256, demonstration_checkpoint, load_model
from dsunet.evaluation.evaluate import evaluate_models
from dsunet.evaluation.predictors import open_predictor
from dsunet.evaluation.scorer import Scorer
from dsunet.evaluation.table import draw
from dsunet.evaluation.testsets import TestSet
from dsunet.scenes import write_scenes
from dsunet_export import (
    EngineOptions,
    ExportOptions,
    ExportPrecision,
    WeightsOrigin,
    build_engine,
    choose_target,
    export_onnx,
)
from dsunet_runtime.images import as_rgb
from dsunet_runtime.manifest import Manifest
from dsunet_runtime.output_files import write_mask, write_overlay

ROOT = Path(__file__).parent.parent
PHOTOGRAPH = ROOT / "assets/camera.jpg"
FOLDER = ROOT / "build/demo"
GPU = "rtx4090"
SCENES, SCENES_SEED = 40, 2
"""Held-out scenes: the checkpoint was trained on those of seeds 1 and 4."""


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    checkpoint = demonstration_checkpoint()
    full, half = FOLDER / "nano.onnx", FOLDER / "nano16.onnx"
    print(f"{'stage':28}{'seconds':>8}  result")
    manifest = export(checkpoint, full, ExportPrecision.FP32)
    export(checkpoint, half, ExportPrecision.FP16)
    mask_photograph(full)
    build(half)

    watch = time.perf_counter()
    write_scenes(FOLDER / "scenes", SCENES, SCENES_SEED)
    with Scorer() as scorer:
        evaluation = evaluate_models(
            [checkpoint, full, half],
            [TestSet.of_dataset("held-out scenes", FOLDER / "scenes")],
            open_predictor,
            scorer,
            FOLDER / "scene_masks",
            sys.stderr,
        )
    tell("generate, predict, evaluate", watch, f"{SCENES} scenes, three models")

    for check in manifest.verification:
        print(
            f"float32 against PyTorch, {check.inputs}: {check.output} within "
            f"{check.max_abs_error:.3g} {check.tolerance_unit}, mean {check.mean_abs_error:.2g}"
        )
    print(f"\n{draw(evaluation)}")
    print(f"\nOverlay: {(FOLDER / 'camera_overlay.jpg').relative_to(ROOT)}")
    print("The checkpoint is small and was trained on synthetic scenes: docs/DEMONSTRATION.md")


def tell(stage: str, start: float, result: str) -> None:
    """Print a row of the table."""
    print(f"{stage:28}{time.perf_counter() - start:8.2f}  {result}", flush=True)


def export(checkpoint: Path, output: Path, precision: ExportPrecision) -> Manifest:
    """Export the checkpoint as a verified artifact."""
    watch = time.perf_counter()
    origin = WeightsOrigin(checkpoint.name, checkpoint_sha256(checkpoint))
    options = ExportOptions(precision=precision)
    manifest = export_onnx(
        load_model(checkpoint), origin, output, options, lambda step, seconds: None
    )
    fewer = 1 - manifest.macs / manifest.rewrites[0].macs_before
    result = (
        f"{output.relative_to(ROOT)}, {output.stat().st_size / 1e6:,.1f} MB, "
        f"{manifest.macs / 1e9:,.2f} G multiply-adds, {fewer:.1%} fewer than the unoptimised graph"
    )
    tell(f"export, verify, {manifest.precision.compute}", watch, result)
    return manifest


def mask_photograph(artifact: Path) -> None:
    """Write the mask and the overlay of the photograph."""
    with dsunet_runtime.load(artifact) as segmenter:
        watch = time.perf_counter()
        mask = segmenter(PHOTOGRAPH)
        tell("photograph to mask", watch, f"{mask.shape[1]}×{mask.shape[0]}, ONNX Runtime, CPU")
    write_mask(mask, FOLDER / "camera.png")
    write_overlay(as_rgb(PHOTOGRAPH), mask, FOLDER / "camera_overlay.jpg")


def build(artifact: Path) -> None:
    """Build an engine of the float16 artifact."""
    watch = time.perf_counter()
    output = FOLDER / "nano.engine"
    options = EngineOptions()
    target = choose_target([GPU], options=options)
    built = build_engine(artifact, output, target, options, lambda step, seconds: None).engine
    proof = ""
    if built is not None:
        fraction = built.proof.weight_bytes_reduced / built.proof.weight_bytes
        proof = (
            f"{built.file.size / 1e6:,.1f} MB, {fraction:.1%} of the weights' bytes in float16, "
        )
    tell(f"engine for {GPU}", watch, f"{output.relative_to(ROOT)}, {proof}built, not run")


if __name__ == "__main__":
    main()
