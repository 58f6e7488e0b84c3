"""Accuracy of the demonstration checkpoint: tables and figures of docs/DEMONSTRATION.md.

Held-out synthetic scenes (of another seed than the training's) are evaluated with PyTorch and with
an artifact of each precision, all together and by kind.  8-bit artifacts are calibrated on scenes
of a third seed.  The figures show scenes at equal intervals in the order of their S-measure, worst
first, and photographs of scikit-image, none of them selected by the result.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from common import write

from dsunet import checkpoint_sha256, demonstration_checkpoint, load_model
from dsunet.data.layouts import Split, locate
from dsunet.data.pairs import find_pairs
from dsunet.evaluation.evaluate import evaluate_models
from dsunet.evaluation.metrics import summarize
from dsunet.evaluation.predictors import TorchPredictor, open_predictor
from dsunet.evaluation.reliance import Encoder, Replacement, s_measure_without
from dsunet.evaluation.results import Result
from dsunet.evaluation.scorer import ScoredMask, Scorer
from dsunet.evaluation.table import draw
from dsunet.evaluation.testsets import TestSet
from dsunet.scenes import Kind, write_scenes
from dsunet.sheet import draw_sheet
from dsunet_export.onnx import export_onnx
from dsunet_export.options import ExportOptions, ExportPrecision, WeightsOrigin
from dsunet_runtime.images import as_rgb
from dsunet_runtime.output_files import overlay

ROOT = Path(__file__).parent.parent
SCENES, SEED = 200, 2
CALIBRATION, CALIBRATION_SEED = 64, 7
PHOTOGRAPHS = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "rocket.jpg",
    "camera.png",
    "coins.png",
)
TILE = 224
ROWS = 10


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    checkpoint = demonstration_checkpoint()
    with tempfile.TemporaryDirectory() as name, Scorer() as scorer:
        folder = Path(name)
        write_scenes(folder / "scenes", SCENES, SEED)
        write_scenes(folder / "calibration", CALIBRATION, CALIBRATION_SEED)
        artifacts = [
            export(checkpoint, folder, precision)
            for precision in ExportPrecision
            if precision is not ExportPrecision.BF16  # not supported by CPUs
        ]
        (evaluation,) = evaluate_models(
            [checkpoint, *artifacts],
            [TestSet.of_dataset("held-out scenes", folder / "scenes")],
            open_predictor,
            scorer,
            folder / "masks",
            sys.stderr,
        )
        kinds = camouflaged(folder / "scenes")
        without = reliance(checkpoint, folder / "scenes")
        draw_scenes(evaluation.results[0].scored)
    draw_photographs(checkpoint)
    print(draw([evaluation]))
    write(
        "demonstration",
        {
            "checkpoint_sha256": checkpoint_sha256(checkpoint),
            "scenes": SCENES,
            "seed": SEED,
            "calibration": CALIBRATION,
            "s_measure_without": without,
            "results": {
                result.model: scores_by_kind(result, kinds) for result in evaluation.results
            },
        },
    )


def export(checkpoint: Path, folder: Path, precision: ExportPrecision) -> Path:
    output = folder / f"nano_{precision}.onnx"
    origin = WeightsOrigin(checkpoint.name, checkpoint_sha256(checkpoint))
    images = folder / "calibration" / "Image" if precision.is_quantized else None
    options = ExportOptions(precision=precision, images=images)
    export_onnx(load_model(checkpoint), origin, output, options, lambda step, seconds: None)
    return output


def reliance(checkpoint: Path, scenes: Path) -> dict[str, float]:
    """The S-measure with the maps of an encoder replaced, by encoder and replacement."""
    model, pairs = load_model(checkpoint), find_pairs(*locate(scenes, Split.TEST)).pairs
    found = {
        f"{encoder}: {replacement}": s_measure_without(model, pairs, encoder, replacement)
        for encoder in Encoder
        for replacement in Replacement
    }
    for name, value in found.items():
        print(f"S-measure with maps replaced, {name}: {value:.4f}")
    return found


def camouflaged(scenes: Path) -> set[str]:
    """File stems of the camouflaged scenes."""
    kinds = json.loads((scenes / "scenes.json").read_text())["kinds"]
    return {stem for stem, kind in kinds.items() if kind == Kind.CAMOUFLAGED}


def scores_by_kind(result: Result, hidden: set[str]) -> dict[str, Any]:
    parts = {
        "all": [one.scores for one in result.scored],
        "salient": [one.scores for one in result.scored if one.case.stem not in hidden],
        "camouflaged": [one.scores for one in result.scored if one.case.stem in hidden],
    }
    return {kind: dataclasses.asdict(summarize(scores)) for kind, scores in parts.items()}


def draw_scenes(scored: Sequence[ScoredMask]) -> None:
    """Draw image, ground truth and mask of scenes, from the worst to the best."""
    ranked = sorted(scored, key=lambda one: one.scores.s_measure)
    shown = [ranked[round(i)] for i in np.linspace(0, len(ranked) - 1, 2 * ROWS)]
    paths = [(one.case.image, one.case.ground_truth, one.case.prediction) for one in shown]
    rows = [[as_rgb(path) for path in triple if path] for triple in paths]
    draw_sheet(
        [first + second for first, second in zip(rows[:ROWS], rows[ROWS:], strict=True)], TILE
    ).save(ROOT / "docs/demonstration_scenes.jpg", quality=85)


def draw_photographs(checkpoint: Path) -> None:
    """Draw photograph, mask and overlay."""
    with TorchPredictor(load_model(checkpoint)) as predictor:
        rows = []
        for name in PHOTOGRAPHS:
            rgb = as_rgb(Path(skimage.data.__file__).parent / name)
            mask = predictor(rgb)
            rows.append([rgb, mask, np.asarray(overlay(rgb, mask))])
    half = len(rows) // 2
    draw_sheet([a + b for a, b in zip(rows[:half], rows[half:], strict=True)], TILE).save(
        ROOT / "docs/demonstration_photographs.jpg", quality=85
    )


if __name__ == "__main__":
    main()
