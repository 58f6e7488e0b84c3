"""Accuracy of the demonstration checkpoint: tables and figures of docs/DEMONSTRATION.md.

Held-out synthetic scenes (another seed than the training's) and held-out composites are evaluated
with PyTorch and with an artifact of each precision, and again with the maps of an encoder replaced.
The masks of each artifact are compared with those of the float32 one, also on photographs.  The
figures show scenes at equal intervals in the order of their S-measure, worst first, and
photographs of scikit-image, none of them selected by the result.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from common import make_parser, write
from demonstration_sheets import draw_photographs, draw_scenes, photographs
from numpy.typing import NDArray

from dsunet import checkpoint_sha256, demonstration_checkpoint, load_model
from dsunet.data.image_files import read_mask, read_prediction
from dsunet.data.layouts import Split, find_dataset_folders
from dsunet.data.pairs import find_pairs
from dsunet.evaluation.evaluate import evaluate_models
from dsunet.evaluation.metrics import score_image, summarize
from dsunet.evaluation.predictors import TorchPredictor, open_predictor
from dsunet.evaluation.reliance import Encoder, Replacement, s_measure_without
from dsunet.evaluation.results import DatasetResults, ModelResult
from dsunet.evaluation.scorer import Scorer
from dsunet.evaluation.table import format_table
from dsunet.evaluation.test_sets import TestSet
from dsunet.scenes import SceneKind, write_scenes
from dsunet_export.artifact import write_artifact
from dsunet_export.graph.graph_file import load_graph
from dsunet_export.onnx import export_onnx
from dsunet_export.options import ExportOptions, ExportPrecision, WeightsOrigin
from dsunet_export.precision.emulate_rounding import emulate_rounding
from dsunet_export.verification.measures import compare_masks
from dsunet_runtime import read_manifest
from dsunet_runtime.artifact.manifest import MaskForm
from dsunet_runtime.images.decode import as_rgb

SCENES, SEED = 200, 2


def main() -> None:
    arguments = parse_arguments()
    checkpoint = arguments.checkpoint
    with tempfile.TemporaryDirectory() as name, Scorer() as scorer:
        folder = Path(name)
        write_scenes(folder / "drawn", SCENES, SEED)
        datasets = {"drawn": folder / "drawn", "composites": arguments.composites}
        artifacts = make_artifacts(checkpoint, folder, arguments.calibration)
        evaluations = evaluate_models(
            [checkpoint, *artifacts.values()],
            [TestSet.of_dataset(name, dataset) for name, dataset in datasets.items()],
            open_predictor,
            scorer,
            folder / "masks",
            sys.stderr,
        )
        print(format_table(evaluations))
        # Not the composites: the images in them may not all be copied into this repository.
        draw_scenes(evaluations[0].results[0].scored)
        document = {
            "checkpoint_sha256": checkpoint_sha256(checkpoint),
            "seed": SEED,
            "images": {e.name: len(e.results[0].scored) for e in evaluations},
            "calibration": len([*arguments.calibration.iterdir()]),
            "s_measure_without": {
                name: reliance(checkpoint, dataset) for name, dataset in datasets.items()
            },
            "results": {e.name: scores_of(e, kinds_of(datasets[e.name])) for e in evaluations},
            "against_float32": {e.name: losses_of(e) for e in evaluations},
            "photographs": losses_on_photographs(artifacts),
        }
    with TorchPredictor(load_model(checkpoint)) as predictor:
        draw_photographs(predictor, arguments.scored[:1])
        if arguments.scored:
            document["scored"] = score_photograph(predictor, *arguments.scored)
    write("demonstration", document)


def parse_arguments() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument(
        "--checkpoint",
        type=Path,
        default=demonstration_checkpoint(),
        help="Checkpoint to evaluate (default: the demonstration checkpoint).",
    )
    parser.add_argument(
        "--composites", type=Path, required=True, help="Dataset of held-out composites."
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        required=True,
        help="Folder of calibration images for 8-bit artifacts.",
    )
    parser.add_argument(
        "--scored",
        type=Path,
        nargs=2,
        default=[],
        metavar=("IMAGE", "MASK"),
        help="Photograph with its ground truth, which is scored; only its mask is shown.",
    )
    return parser.parse_args()


def make_artifacts(checkpoint: Path, folder: Path, calibration: Path) -> dict[str, Path]:
    """Artifacts by precision; `engine` is float16 with the rounding of every tensor emulated."""
    origin = WeightsOrigin(checkpoint.name, checkpoint_sha256(checkpoint))
    artifacts = {}
    for precision in ExportPrecision:
        if precision is ExportPrecision.BF16:  # not supported by CPUs
            continue
        output = artifacts[precision.value] = folder / f"nano_{precision}.onnx"
        images = calibration if precision.is_quantized else None
        # What a precision loses is measured here, also where that is more than an export allows.
        options = ExportOptions(
            mask_form=MaskForm.STRETCHED, precision=precision, images=images, verify=False
        )
        export_onnx(load_model(checkpoint), origin, output, options, lambda step, seconds: None)
    artifacts["engine"] = round_like_engine(artifacts["fp16"], folder / "engine")
    return artifacts


def round_like_engine(float16: Path, folder: Path) -> Path:
    folder.mkdir()  # an artifact's folder, until it is published, has nothing else
    output = folder / "nano_engine.onnx"
    manifest = read_manifest(float16)
    model = load_graph(float16, manifest)
    emulate_rounding(model, ir.DataType.FLOAT16)
    write_artifact(model, output, manifest)
    return output


def reliance(checkpoint: Path, dataset: Path) -> dict[str, float]:
    """The S-measure with the maps of an encoder replaced, by encoder and replacement."""
    model, pairs = (
        load_model(checkpoint),
        find_pairs(*find_dataset_folders(dataset, Split.TEST)).pairs,
    )
    found = {
        f"{encoder}: {replacement}": s_measure_without(model, pairs, encoder, replacement)
        for encoder in Encoder
        for replacement in Replacement
    }
    for name, value in found.items():
        print(f"{dataset.name}: S-measure with maps replaced, {name}: {value:.4f}")
    return found


def kinds_of(dataset: Path) -> dict[str, SceneKind]:
    """The kind of each scene, by stem."""
    kinds = json.loads((dataset / "scenes.json").read_text())["kinds"]
    return {stem: SceneKind(kind) for stem, kind in kinds.items()}


def scores_of(evaluation: DatasetResults, kinds: dict[str, SceneKind]) -> dict[str, Any]:
    """Mean scores by model and by kind of scene, and over all."""
    return {result.model: scores_by_kind(result, kinds) for result in evaluation.results}


def scores_by_kind(result: ModelResult, kinds: dict[str, SceneKind]) -> dict[str, Any]:
    parts = {"all": [one.scores for one in result.scored]}
    for one in result.scored:
        parts.setdefault(kinds[one.case.stem].value, []).append(one.scores)
    return {kind: dataclasses.asdict(summarize(scores)) for kind, scores in parts.items()}


def losses_of(evaluation: DatasetResults) -> dict[str, Any]:
    """Compare the saved masks of each artifact with those of the float32 one, by model."""
    _, float32, *others = evaluation.results
    first = [one.case.prediction for one in float32.scored]
    return {
        result.model: loss(
            (one.case.stem, read_prediction(a), read_prediction(one.case.prediction))
            for a, one in zip(first, result.scored, strict=True)
        )
        for result in others
    }


def losses_on_photographs(artifacts: dict[str, Path]) -> dict[str, Any]:
    """Compare the masks of the photographs of scikit-image, by precision."""
    masks = {}
    for name, path in artifacts.items():
        with open_predictor(path) as predictor:
            masks[name] = [predictor(rgb) for rgb in photographs().values()]
    return {
        name: loss(zip(photographs(), masks["fp32"], found, strict=True))
        for name, found in masks.items()
        if name != "fp32"
    }


def loss(pairs: Iterable[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]]) -> dict[str, Any]:
    """Mean difference of masks in levels of 0 to 255, the worst image, and IoUs at 0.5."""
    found = {name: compare_masks(a, b) for name, a, b in pairs}
    worst = max(found, key=lambda name: found[name].mean)
    return {
        "mean": float(np.mean([one.mean for one in found.values()])),
        "worst": found[worst].mean,
        "worst_image": worst,
        "lowest_iou": min(one.iou for one in found.values()),
    }


def score_photograph(predictor: TorchPredictor, image: Path, mask: Path) -> dict[str, Any]:
    scores = summarize([score_image(predictor(as_rgb(image)), read_mask(mask))])
    print(f"{image.name}: S-measure {scores.s_measure:.4f}, MAE {scores.mae:.4f}")
    return {"image": image.name, **dataclasses.asdict(scores)}


if __name__ == "__main__":
    main()
