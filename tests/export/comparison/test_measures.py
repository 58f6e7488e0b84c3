from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cosine
from sklearn.metrics import jaccard_score

from dsunet_export.verification.measures import NEAR, compare_masks, compare_tensors


@pytest.fixture
def noise() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(2, 3, 50)).astype(np.float32)


class TestTensors:
    def test_against_scipy(self, noise: NDArray[np.float32]) -> None:
        other = noise + np.random.default_rng(1).normal(0, 0.1, noise.shape).astype(np.float32)
        found = compare_tensors(noise, other)
        assert found.cosine == pytest.approx(1 - cosine(noise.ravel(), other.ravel()), abs=1e-7)
        assert found.largest == pytest.approx(np.abs(noise - other).max())
        assert found.mean == pytest.approx(np.abs(noise - other).mean(), rel=1e-6)

    def test_a_longer_one_has_the_same_direction(self, noise: NDArray[np.float32]) -> None:
        found = compare_tensors(noise, 2 * noise)
        assert found.cosine == pytest.approx(1)
        assert found.largest_relative == pytest.approx(1)

    def test_what_is_close_to_zero_does_not_count_without_bound(self) -> None:
        a = np.array([1, -1, 1, -1, 0], np.float32)
        found = compare_tensors(a, a + np.float32(1e-3))
        assert found.largest_relative == pytest.approx(1e-3 / (1e-3 * a.std()), rel=1e-3)

    def test_equal_zeros(self) -> None:
        zeros = np.zeros(4, np.float32)
        found = compare_tensors(zeros, zeros)
        assert (found.largest, found.largest_relative, found.cosine) == (0, 0, 1)
        assert compare_tensors(zeros, zeros + 1).cosine == 0

    def test_no_number_is_seen(self, noise: NDArray[np.float32]) -> None:
        broken = noise.copy()
        broken[0, 0, 0] = np.nan
        assert np.isnan(compare_tensors(noise, broken).mean)


class TestMasks:
    def test_the_same(self) -> None:
        mask = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
        found = compare_masks(mask, mask)
        assert (found.largest, found.mean, found.flips, found.disagreement) == (0, 0, 0, 0)
        assert found.iou == 1
        assert found.s_measure == pytest.approx(1)

    def test_iou_against_scikit_learn(self) -> None:
        a, b = np.random.default_rng(0).integers(0, 256, (2, 20, 30), dtype=np.uint8)
        expected = jaccard_score((a > 127).ravel(), (b > 127).ravel())
        assert compare_masks(a, b).iou == pytest.approx(expected)

    def test_flips_are_not_disagreement(self) -> None:
        a = np.full((10, 10), 250, np.uint8)
        b = a.copy()
        a[0, :3], b[0, :3] = 128, 127  # changed sides, both as good as on the line
        a[1, :2], b[1, :2] = 128, 100  # changed its mind
        a[2, 0], b[2, 0] = 135, 121  # just within reach
        found = compare_masks(a, b)
        assert abs(135 - 127.5) < NEAR
        assert found.flips == pytest.approx(0.04)
        assert found.disagreement == pytest.approx(0.02)

    def test_without_an_object(self) -> None:
        empty = np.zeros((10, 10), np.uint8)
        assert compare_masks(empty, empty).iou == 1
        full = np.full((10, 10), 255, np.uint8)
        found = compare_masks(empty, full)
        assert (found.iou, found.mean, found.disagreement) == (0, 255, 1)
