"""The paper's loss: weighted IoU and cross-entropy of three outputs (section III; SINet's form)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 31
"""Side of the averaging window: pixels close to the object's border differ from its mean."""


def pixel_weight(mask: Tensor) -> Tensor:
    """Compute pixel weights, 1 to 6, largest where a pixel differs from its surroundings.

    `mask` is N×1×H×W, 0 to 1; the result has the same shape.
    """
    # Separable mean with zero padding: a fifteenth of the additions of a square window.
    half = WINDOW // 2
    rows = F.avg_pool2d(mask, (WINDOW, 1), stride=1, padding=(half, 0))
    around = F.avg_pool2d(rows, (1, WINDOW), stride=1, padding=(0, half))
    return 1 + 5 * (around - mask).abs()


def structure_loss(
    logits: Tensor, mask: Tensor, weight: Tensor, *, weighted_bce: bool = False
) -> Tensor:
    """Compute the sum of weighted IoU loss and cross-entropy, averaged over the batch.

    `logits`, `mask` (0 to 1) and `weight` (from `pixel_weight`) are N×1×H×W.  The published code
    passes `reduce="none"` instead of `reduction`, so its cross-entropy is a plain mean;
    `weighted_bce` selects the form that weights each pixel.
    """
    if weighted_bce:
        bce = F.binary_cross_entropy_with_logits(logits, mask, reduction="none")
        entropy = ((weight * bce).sum((2, 3)) / weight.sum((2, 3))).mean()
    else:
        entropy = F.binary_cross_entropy_with_logits(logits, mask)
    inside = logits.sigmoid()
    intersection = (inside * mask * weight).sum((2, 3))
    union = ((inside + mask) * weight).sum((2, 3)) - intersection
    iou = (intersection + 1) / (union + 1)
    return entropy + (1 - iou).mean()


def stage_losses(logits: Sequence[Tensor], mask: Tensor, *, weighted_bce: bool = False) -> Tensor:
    """Compute the loss of each output, a tensor of as many values.

    The logits and the mask are N×1×S×S.
    """
    weight = pixel_weight(mask)
    return torch.stack(
        [structure_loss(stage, mask, weight, weighted_bce=weighted_bce) for stage in logits]
    )
