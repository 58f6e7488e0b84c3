"""Scores of images and datasets are bitwise equal to those of py_sod_metrics."""

from __future__ import annotations

import dataclasses
import math
import pickle

import numpy as np
import pytest

from dsunet.errors import EvaluationError
from dsunet.evaluation.metrics import mean_curves, score_image, summarize
from tests.evaluation.library import run_directly
from tests.evaluation.pairs import pairs_of_all_kinds


def test_the_same_as_the_library_on_masks_of_all_kinds() -> None:
    pairs = pairs_of_all_kinds(96)
    found = [pickle.loads(pickle.dumps(score_image(*pair))) for pair in pairs]
    expected = run_directly(pairs)
    figures = dataclasses.asdict(summarize(found))
    assert figures == {name: expected[name] for name in figures}
    for name, curve in dataclasses.asdict(mean_curves(found)).items():
        np.testing.assert_array_equal(curve, expected[f"curve_{name}"])


@pytest.mark.parametrize("index", range(16))
def test_the_same_as_the_library_on_one_image_of_each_kind(index: int) -> None:
    pair = pairs_of_all_kinds(16)[index]
    figures = dataclasses.asdict(summarize([score_image(*pair)]))
    assert figures == {name: run_directly([pair])[name] for name in figures}


def test_a_perfect_mask_and_its_opposite() -> None:
    ground_truth = np.zeros((60, 80), np.uint8)
    ground_truth[10:40, 20:50] = 255
    best, worst = (
        summarize([score_image(mask, ground_truth)]) for mask in (ground_truth, 255 - ground_truth)
    )
    assert (best.mae, best.iou, best.dice, best.f_max) == (0, 1, 1, 1)
    # Their definitions keep these off 1 by the machine's epsilon, and E by one pixel in H×W.
    assert best.s_measure == pytest.approx(1, abs=1e-12)
    assert best.e_max == pytest.approx(1, abs=1e-3)
    assert (worst.mae, worst.iou, worst.dice, worst.f_adaptive) == (1, 0, 0, 0)


def test_iou_and_dice_are_means_over_images_at_threshold_0_5() -> None:
    ground_truth = np.zeros((10, 10), np.uint8)
    ground_truth[2:6, 2:6] = 255  # 16 pixels
    half = ground_truth.copy()
    half[2:4] //= 3  # 8 of them fall below one half
    scores = summarize([score_image(half, ground_truth), score_image(ground_truth, ground_truth)])
    assert scores.iou == (8 / 16 + 1) / 2
    assert scores.dice == (2 * 8 / (8 + 16) + 1) / 2


def test_no_s_measure_where_the_library_has_none() -> None:
    ground_truth = np.zeros((30, 40), np.uint8)
    ground_truth[-1] = 255
    pair = (np.full((30, 40), 9, np.uint8), ground_truth)
    assert math.isnan(run_directly([pair])["s_measure"])
    assert math.isnan(score_image(*pair).s_measure)


def test_the_same_in_another_order() -> None:
    pairs = pairs_of_all_kinds(40)[::-1]
    expected = run_directly(pairs)
    figures = dataclasses.asdict(summarize([score_image(*pair) for pair in pairs]))
    assert figures == {name: expected[name] for name in figures}


@pytest.mark.parametrize("shape", [(4, 5), (5, 4, 3), (0, 4)])
def test_masks_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    ground_truth = np.zeros((5, 4) if shape == (4, 5) else shape, np.uint8)
    with pytest.raises(
        EvaluationError, match="resample the prediction to the size of the ground truth"
    ):
        score_image(np.zeros(shape, np.uint8), ground_truth)


def test_nothing_cannot_be_summarized() -> None:
    with pytest.raises(EvaluationError, match="at least one image"):
        summarize([])
