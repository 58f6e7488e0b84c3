"""Validation of a model in training: metrics, and contact sheets of its masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dsunet.data.image_files import read_image, read_mask
from dsunet.data.pairs import Pair
from dsunet.evaluation.metrics import summarize
from dsunet.evaluation.pair_scores import mean_s_measure, score_pairs
from dsunet.evaluation.predictors import TorchPredictor
from dsunet.reports.contact_sheet import draw_sheet
from dsunet_runtime.files import write_whole

_TILE = 256


def validate(predictor: TorchPredictor, pairs: Sequence[Pair]) -> dict[str, float]:
    """Compute S-measure, mean F-measure, MAE and IoU, as columns of the log.

    The S-measure, which determines the best epoch, is averaged over the images for which it is
    defined (see `ImageScores`).
    """
    images = score_pairs(predictor, pairs)
    scores = summarize(images)
    return {
        "val_s": mean_s_measure(images),
        "val_f": scores.f_mean,
        "val_mae": scores.mae,
        "val_iou": scores.iou,
    }


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
