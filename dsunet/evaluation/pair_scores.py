"""Scores of a predictor on pairs of image and mask, in this process."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from dsunet.data.alignment import resampled_mask
from dsunet.data.image_files import read_image, read_mask
from dsunet.data.pairs import Pair
from dsunet.evaluation.metrics import ImageScores, score_image
from dsunet.evaluation.predictors import TorchPredictor


def score_pairs(predictor: TorchPredictor, pairs: Sequence[Pair]) -> list[ImageScores]:
    """Predict the mask of each image and score it, at the size of its ground truth."""
    return [_score(predictor, pair) for pair in pairs]


def mean_s_measure(scores: Sequence[ImageScores]) -> float:
    """The mean S-measure of the images for which it is defined (see `ImageScores`), or else 0."""
    defined = [one.s_measure for one in scores if not math.isnan(one.s_measure)]
    return statistics.fmean(defined) if defined else 0.0


def _score(predictor: TorchPredictor, pair: Pair) -> ImageScores:
    ground_truth = read_mask(pair.mask)
    return score_image(
        resampled_mask(predictor(read_image(pair.image)), ground_truth.shape), ground_truth
    )
