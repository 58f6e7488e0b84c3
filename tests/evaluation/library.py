"""py_sod_metrics in one process, one image after the other."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import py_sod_metrics as sod

from tests.evaluation.pairs import Mask


def run_directly(pairs: Iterable[tuple[Mask, Mask]]) -> dict[str, Any]:
    """The figures by our names, and the curves as `curve_...`."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # Fmeasure is deprecated, which is why it is the witness
        f, weighted = sod.Fmeasure(), sod.WeightedFmeasure()
        s, e, mae = sod.Smeasure(), sod.Emeasure(), sod.MAE()
        binary = {"with_dynamic": False, "with_adaptive": False, "with_binary": True}
        thresholded = sod.FmeasureV2(
            {"iou": sod.IOUHandler(**binary), "dice": sod.DICEHandler(**binary)}
        )
        for prediction, ground_truth in pairs:
            for measure in (f, weighted, s, e, mae, thresholded):
                measure.step(pred=prediction, gt=ground_truth)
    fm, pr, em = f.get_results()["fm"], f.get_results()["pr"], e.get_results()["em"]
    return {
        "s_measure": s.get_results()["sm"],
        "f_adaptive": fm["adp"],
        "f_mean": fm["curve"].mean(),
        "f_max": fm["curve"].max(),
        "f_weighted": weighted.get_results()["wfm"],
        "e_mean": em["curve"].mean(),
        "e_adaptive": em["adp"],
        "e_max": em["curve"].max(),
        "mae": mae.get_results()["mae"],
        "iou": thresholded.get_results()["iou"]["binary"],
        "dice": thresholded.get_results()["dice"]["binary"],
        "curve_f": fm["curve"],
        "curve_e": em["curve"],
        "curve_precision": pr["p"],
        "curve_recall": pr["r"],
    }
