"""Validation of a model in training: metrics, and contact sheets of its masks."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from dsunet.data.alignment import resized
from dsunet.data.files import read_image, read_mask
from dsunet.data.pairs import Pair
from dsunet.evaluation.metrics import ImageScores, score_image, summarize
from dsunet.evaluation.predictors import TorchPredictor
from dsunet.sheet import draw_sheet
from dsunet_runtime.output_files import write_whole

_TILE = 256


def validate(predictor: TorchPredictor, pairs: Sequence[Pair]) -> dict[str, float]:
    """Compute S-measure, mean F-measure, MAE and IoU, as columns of the log.

    The S-measure, which determines the best epoch, is averaged over the images for which it is
    defined (see `ImageScores`).
    """
    images = [_score(predictor, pair) for pair in pairs]
    scores = summarize(images)
    defined = [one.s_measure for one in images if not math.isnan(one.s_measure)]
    return {
        "val_s": statistics.fmean(defined) if defined else 0.0,
        "val_f": scores.f_mean,
        "val_mae": scores.mae,
        "val_iou": scores.iou,
    }


def _score(predictor: TorchPredictor, pair: Pair) -> ImageScores:
    ground_truth = read_mask(pair.mask)
    return score_image(resized(predictor(read_image(pair.image)), ground_truth.shape), ground_truth)


def write_overlays(predictor: TorchPredictor, pairs: Sequence[Pair], path: Path) -> None:
    """Write a JPEG contact sheet with one row per pair: image, ground truth, mask.

    Raises OutputError if the file cannot be written.
    """
    rows = []
    for pair in pairs:
        rgb = read_image(pair.image)
        rows.append([rgb, read_mask(pair.mask), predictor(rgb)])
    sheet = draw_sheet(rows, _TILE, ("image", "ground truth", "mask"))
    write_whole(path, lambda file: sheet.save(file, "JPEG", quality=90))
