"""Figures of docs/DEMONSTRATION.md: scenes and photographs beside their masks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import skimage.data
from numpy.typing import NDArray

from dsunet.evaluation.predictors import TorchPredictor
from dsunet.evaluation.scorer import ScoredMask
from dsunet.reports.contact_sheet import draw_sheet
from dsunet_runtime.images.decode import as_rgb
from dsunet_runtime.masks.renderings import Overlay

DOCS = Path(__file__).parent.parent / "docs"
TILE = 160
ROWS = 10
PHOTOGRAPHS = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "camera.png",
    "rocket.jpg",
    "motorcycle_left.png",
    "horse.png",
    "coins.png",
)
UNLICENSED = ("motorcycle_left.png",)
"""May be used, but not copied into this repository."""


def photographs() -> dict[str, NDArray[np.uint8]]:
    """The photographs of scikit-image by file name, H×W×3."""
    return {name: as_rgb(Path(skimage.data.__file__).parent / name) for name in PHOTOGRAPHS}


def draw_scenes(scored: Sequence[ScoredMask]) -> None:
    """Draw image, ground truth and mask of scenes, from the worst to the best."""
    ranked = sorted(scored, key=lambda one: one.scores.s_measure)
    shown = [ranked[round(i)] for i in np.linspace(0, len(ranked) - 1, 2 * ROWS)]
    paths = [(one.case.image, one.case.ground_truth, one.case.prediction) for one in shown]
    _save([[as_rgb(path) for path in triple if path] for triple in paths], 2, "scenes")


def draw_photographs(predictor: TorchPredictor, others: Sequence[Path]) -> None:
    """Draw photograph, mask and overlay; of photographs without a licence, the mask only."""
    rows: list[list[NDArray[np.uint8]]] = []
    for name, rgb in photographs().items():
        mask = predictor(rgb)
        is_licensed = name not in UNLICENSED
        rows.append([rgb, mask, Overlay()(rgb, mask)] if is_licensed else _alone(mask))
    rows += [_alone(predictor(as_rgb(path))) for path in others]
    _save(rows, 3 if others else 2, "photographs")


def _alone(mask: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    blank = np.full_like(mask, 64)
    return [blank, mask, blank]


def _save(rows: Sequence[list[NDArray[np.uint8]]], across: int, name: str) -> None:
    """Save a sheet with several of the rows side by side, the first ones to the left."""
    height = -(-len(rows) // across)
    columns = [rows[start : start + height] for start in range(0, len(rows), height)]
    sheet = draw_sheet([[*chain(*parts)] for parts in zip(*columns, strict=True)], TILE)
    sheet.save(DOCS / f"demonstration_{name}.jpg", quality=85)
