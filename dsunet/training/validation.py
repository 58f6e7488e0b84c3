"""How a model in training does: metrics, and pictures of its masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dsunet.data.pairs import Pair, read_mask
from dsunet.data.samples import read_image
from dsunet.evaluation.metrics import score_image, summarize
from dsunet.evaluation.predictors import TorchPredictor
from dsunet_runtime.writing import write_whole

_TILE = 256


def validate(predictor: TorchPredictor, pairs: Sequence[Pair]) -> dict[str, float]:
    """S-measure, mean F-measure, MAE and IoU, as columns of the log."""
    scores = summarize([score_image(predictor(read_image(p)), read_mask(p.mask)) for p in pairs])
    return {
        "val_s": scores.s_measure,
        "val_f": scores.f_mean,
        "val_mae": scores.mae,
        "val_iou": scores.iou,
    }


def write_overlays(predictor: TorchPredictor, pairs: Sequence[Pair], path: Path) -> None:
    """Write one JPEG file with a row for each pair: image, truth, mask.

    Raises OutputError if that does not succeed.
    """
    sheet = Image.new("RGB", (3 * _TILE, len(pairs) * _TILE))
    for row, pair in enumerate(pairs):
        rgb = read_image(pair)
        tiles = (rgb, read_mask(pair.mask), predictor(rgb))
        for column, tile in enumerate(tiles):
            sheet.paste(_tile(tile), (column * _TILE, row * _TILE))
    write_whole(path, lambda file: sheet.save(file, "JPEG", quality=90))


def _tile(pixels: NDArray[np.uint8]) -> Image.Image:
    """An image H×W×3 or a mask H×W as a square, centred on grey."""
    image = Image.fromarray(pixels).convert("RGB")
    image.thumbnail((_TILE, _TILE))
    square = Image.new("RGB", (_TILE, _TILE), (64, 64, 64))
    square.paste(image, ((_TILE - image.width) // 2, (_TILE - image.height) // 2))
    return square
