"""From logits to masks, against PyTorch and the formula in the paper's code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dsunet_runtime.artifact.manifest import MaskForm
from dsunet_runtime.masks.mask_from_logits import mask_from_logits, resample_bilinear, sigmoid

torch: Any = pytest.importorskip("torch")

SIZES = [(1, 1), (1, 7), (16, 16), (41, 53), (352, 352), (15, 1000), (5, 3)]


def logits_of(side: tuple[int, int]) -> NDArray[np.float32]:
    return np.random.default_rng(3).normal(0, 6, side).astype(np.float32)


def interpolated(logits: NDArray[np.float32], size: tuple[int, int]) -> Any:
    tensor = torch.from_numpy(logits)[None, None]
    return torch.nn.functional.interpolate(tensor, size, mode="bilinear", align_corners=False)[0, 0]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("side", [(16, 16), (1, 1), (11, 7)])
def test_resampling_is_pytorchs(side: tuple[int, int], size: tuple[int, int]) -> None:
    logits = logits_of(side)
    result = resample_bilinear(logits, size)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, interpolated(logits, size).numpy(), rtol=0, atol=1e-4)


def test_resampling_of_the_textbook() -> None:
    result = resample_bilinear(np.array([[0, 4]], np.float32), (2, 4))
    np.testing.assert_array_equal(result, [[0, 1, 3, 4]] * 2)


@pytest.mark.filterwarnings("error")
def test_sigmoid_at_the_ends() -> None:
    values = np.array([-1000, -80, -20, 0, 20, 1000], np.float32)
    expected = torch.sigmoid(torch.from_numpy(values).double()).numpy()
    np.testing.assert_allclose(sigmoid(values), expected, rtol=1e-6, atol=1e-37)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("offset", [0, -12, 12])
def test_stretched_is_the_papers_code(size: tuple[int, int], offset: int) -> None:
    logits = logits_of((16, 16)) + np.float32(offset)
    res = interpolated(logits, size).sigmoid().numpy()
    res = (res - res.min()) / (res.max() - res.min() + 1e-8)
    expected = (res * 255).astype(np.uint8)
    differences = np.abs(mask_from_logits(logits, size, MaskForm.STRETCHED).astype(int) - expected)
    assert differences.max() <= 1
    assert (differences > 0).mean() < 0.01  # a value at the edge between two levels


@pytest.mark.parametrize("size", SIZES)
def test_probability_is_rounded(size: tuple[int, int]) -> None:
    logits = logits_of((16, 16))
    expected = np.floor(interpolated(logits, size).double().sigmoid().numpy() * 255 + 0.5)
    differences = np.abs(mask_from_logits(logits, size, MaskForm.PROBABILITY) - expected)
    assert differences.max() <= 1
    assert (differences > 0).mean() < 0.01


def test_ends_of_the_range() -> None:
    logits = np.array([[-200, 200]], np.float32)
    for form in MaskForm:
        np.testing.assert_array_equal(mask_from_logits(logits, (1, 2), form), [[0, 255]])


@pytest.mark.parametrize("value", [-200, 0, 200])
def test_constant_logits(value: float) -> None:
    logits = np.full((4, 4), value, np.float32)
    assert not mask_from_logits(logits, (3, 3), MaskForm.STRETCHED).any()
