"""The loss against NumPy in float64, computed pixel by pixel from the paper's formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dsunet.network.model import SegmentationLogits
from dsunet.training.loss import pixel_weight, stage_losses, structure_loss

Array = NDArray[np.float64]


def blobs(seed: int = 0) -> Array:
    """Masks 3×40×52 that are not all 0 and 1, as resampling leaves them."""
    generator = np.random.default_rng(seed)
    masks = (generator.random((3, 10, 13)) > 0.6).astype(np.float64)
    return np.kron(masks, np.ones((1, 4, 4))) * 0.9 + 0.05


def weight_by_hand(mask: Array) -> Array:
    """1 + 5 |mean over 31×31 - mask|, with zero padding."""
    padded = np.pad(mask, 15)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (31, 31))
    weight: Array = 1 + 5 * np.abs(windows.mean((2, 3)) - mask)
    return weight


def loss_by_hand(logits: Array, masks: Array, *, weighted_bce: bool) -> float:
    probability = 1 / (1 + np.exp(-logits))
    entropy = -masks * np.log(probability) - (1 - masks) * np.log(1 - probability)
    losses = []
    for p, t, e in zip(probability, masks, entropy, strict=True):
        w = weight_by_hand(t)
        both = (p * t * w).sum()
        either = ((p + t) * w).sum()
        iou = 1 - (both + 1) / (either - both + 1)
        losses.append(iou + ((w * e).sum() / w.sum() if weighted_bce else entropy.mean()))
    return float(np.mean(losses))


@pytest.mark.parametrize("weighted_bce", [False, True])
def test_equals_the_formula(weighted_bce: bool) -> None:
    masks = blobs()
    logits = np.random.default_rng(1).normal(0, 3, masks.shape)
    mask = torch.from_numpy(masks).float()[:, None]

    found = structure_loss(
        torch.from_numpy(logits).float()[:, None],
        mask,
        pixel_weight(mask),
        weighted_bce=weighted_bce,
    )

    # Float32 sums of 2,080 pixels.
    assert float(found) == pytest.approx(
        loss_by_hand(logits, masks, weighted_bce=weighted_bce), rel=1e-5
    )


def test_pixels_at_a_border_weigh_more() -> None:
    mask = torch.from_numpy(blobs()).float()[:, None]
    expected = np.stack([weight_by_hand(one) for one in blobs()])[:, None]
    # Two sums of 31 values in float32, times 5.
    np.testing.assert_allclose(pixel_weight(mask).numpy(), expected, atol=5e-6)


def test_every_stage_has_its_loss() -> None:
    masks = blobs()
    mask = torch.from_numpy(masks).float()[:, None]
    stages = [np.random.default_rng(k).normal(0, k + 1, masks.shape) for k in range(3)]
    logits = SegmentationLogits(*(torch.from_numpy(s).float()[:, None] for s in stages))

    found = stage_losses(logits, mask)

    expected = [loss_by_hand(stage, masks, weighted_bce=False) for stage in stages]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


def test_a_perfect_mask_costs_nothing() -> None:
    mask = torch.from_numpy(np.round(blobs())).float()[:, None]
    loss = structure_loss(200 * mask - 100, mask, pixel_weight(mask))
    assert float(loss) == pytest.approx(0, abs=1e-6)
