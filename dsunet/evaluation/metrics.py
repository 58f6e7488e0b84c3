"""Segmentation metrics, computed by py_sod_metrics.

Images are scored one by one, in any process.  `summarize` then passes the scores, in order, to the
library's own objects and returns their results.  The results are bitwise equal to those of one
process that steps through the same images with py_sod_metrics.

As in the library, ground truth is thresholded above 128, and predictions are stretched to [0, 1].
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsunet.errors import EvaluationError
from dsunet_runtime.extras import needs_extra

with needs_extra("evaluate"):
    import py_sod_metrics as sod
    from py_sod_metrics.utils import prepare_data

Curve = NDArray[np.float64]
"""256 values, for the thresholds 255, 254, ... 0 of the stretched prediction."""


@dataclass(frozen=True, slots=True)
class ImageScores:
    """The scores of one mask, in [0, 1].

    As in the library, `s_measure` is NaN if the centroid of the ground truth is in the last row or
    column.
    """

    s_measure: float
    f_adaptive: float
    """F-measure with beta² = 0.3, at a threshold of twice the prediction's mean."""
    f_curve: Curve
    f_weighted: float
    """Margolin's weighted F-measure, beta² = 1."""
    e_adaptive: float
    e_curve: Curve
    mae: float
    iou: float
    """IoU of the stretched prediction at threshold 0.5."""
    dice: float
    """Dice of the stretched prediction at threshold 0.5."""
    precision: Curve
    recall: Curve


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of a dataset: means over its images, in [0, 1].

    Mean and maximum of F and E are those of the mean curve over the thresholds.
    """

    s_measure: float
    f_adaptive: float
    f_mean: float
    f_max: float
    f_weighted: float
    e_mean: float
    e_adaptive: float
    e_max: float
    mae: float
    iou: float
    dice: float


@dataclass(frozen=True, slots=True)
class Curves:
    """The mean curves of a dataset over 256 thresholds."""

    f: Curve
    e: Curve
    precision: Curve
    recall: Curve


def score_image(prediction: NDArray[np.uint8], ground_truth: NDArray[np.uint8]) -> ImageScores:
    """Score one mask against its ground truth.

    Args:
        prediction: Predicted mask H×W, 0 to 255.
        ground_truth: Ground-truth mask H×W; values above 128 are the object.

    Raises:
        EvaluationError: The shapes differ.
    """
    if prediction.shape != ground_truth.shape or prediction.ndim != 2 or not prediction.size:
        raise EvaluationError(
            f"the prediction has shape {prediction.shape}, the ground truth {ground_truth.shape}: "
            "resample the prediction to the size of the ground truth"
        )
    library = _Library()
    levels, inside = prepare_data(prediction, ground_truth)
    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of NumPy, for the mean of an empty array
        for measure in library.measures:
            measure.step(levels, inside, normalize=False)
    return library.scores_of_last()


def summarize(scores: Sequence[ImageScores]) -> Scores:
    """The scores of a dataset.  Raises EvaluationError if there are no images."""
    results = _Library.of(scores).results()
    f, e = results["f"], results["em"]
    return Scores(
        s_measure=float(results["sm"]),
        f_adaptive=float(f["adaptive"]),
        f_mean=float(f["dynamic"].mean()),
        f_max=float(f["dynamic"].max()),
        f_weighted=float(results["wfm"]),
        e_mean=float(e["curve"].mean()),
        e_adaptive=float(e["adp"]),
        e_max=float(e["curve"].max()),
        mae=float(results["mae"]),
        iou=float(results["iou"]["binary"]),
        dice=float(results["dice"]["binary"]),
    )


def mean_curves(scores: Sequence[ImageScores]) -> Curves:
    """The curves of a dataset.  Raises EvaluationError if there are no images."""
    results = _Library.of(scores).results()
    return Curves(
        f=results["f"]["dynamic"],
        e=results["em"]["curve"],
        precision=results["precision"]["dynamic"],
        recall=results["recall"]["dynamic"],
    )


class _Library:
    """The objects of py_sod_metrics, and the lists in which they store their results."""

    def __init__(self) -> None:
        self.s, self.e, self.mae = sod.Smeasure(), sod.Emeasure(), sod.MAE()
        self.weighted = sod.WeightedFmeasure()
        self.f = sod.FmeasureHandler(with_dynamic=True, with_adaptive=True, beta=0.3)
        self.precision = sod.PrecisionHandler(with_dynamic=True, with_adaptive=False)
        self.recall = sod.RecallHandler(with_dynamic=True, with_adaptive=False)
        self.iou = sod.IOUHandler(with_dynamic=False, with_adaptive=False, with_binary=True)
        self.dice = sod.DICEHandler(with_dynamic=False, with_adaptive=False, with_binary=True)
        self.thresholded = sod.FmeasureV2(
            {
                "f": self.f,
                "precision": self.precision,
                "recall": self.recall,
                "iou": self.iou,
                "dice": self.dice,
            }
        )
        self.measures = (self.s, self.e, self.mae, self.weighted, self.thresholded)

    @classmethod
    def of(cls, scores: Sequence[ImageScores]) -> _Library:
        """The objects in their state after these images."""
        if not scores:
            raise EvaluationError("there are no scores to summarize: evaluate at least one image")
        library = cls()
        for name, values in library._lists().items():
            values.extend(getattr(one, name) for one in scores)
        return library

    def scores_of_last(self) -> ImageScores:
        """The scores of the last step."""
        last: dict[str, Any] = {
            name: np.asarray(values[-1], np.float64) if np.ndim(values[-1]) else float(values[-1])
            for name, values in self._lists().items()
        }
        return ImageScores(**last)

    def results(self) -> dict[str, Any]:
        """The library's results of all objects."""
        results: dict[str, Any] = {}
        for measure in self.measures:
            results |= measure.get_results()
        return results

    def _lists(self) -> dict[str, list[Any]]:
        """The library's lists of per-image results, by the field names of ImageScores."""
        return {
            "s_measure": self.s.sms,
            "f_adaptive": self.f.adaptive_results,
            "f_curve": self.f.dynamic_results,
            "f_weighted": self.weighted.weighted_fms,
            "e_adaptive": self.e.adaptive_ems,
            "e_curve": self.e.changeable_ems,
            "mae": self.mae.maes,
            "iou": self.iou.binary_results,
            "dice": self.dice.binary_results,
            "precision": self.precision.dynamic_results,
            "recall": self.recall.dynamic_results,
        }
