"""The paper's loss: weighted IoU and cross-entropy of three outputs (section III; SINet's form)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dsunet.model import SegmentationLogits

WINDOW = 31
"""Side of the square whose mean tells how near a pixel is to the object's border."""


def pixel_weight(mask: Tensor) -> Tensor:
    """How much each pixel counts, 1 to 6: most where its surroundings differ from it.

    `mask` is N×1×H×W, 0 to 1, and so is the result's shape.
    """
    # Rows, then columns: the same mean, outside being 0, for a fifteenth of the additions.
    half = WINDOW // 2
    rows = F.avg_pool2d(mask, (WINDOW, 1), stride=1, padding=(half, 0))
    around = F.avg_pool2d(rows, (1, WINDOW), stride=1, padding=(0, half))
    return 1 + 5 * (around - mask).abs()


def structure_loss(
    logits: Tensor, mask: Tensor, weight: Tensor, *, weighted_bce: bool = False
) -> Tensor:
    """Weighted IoU plus cross-entropy, a mean over the batch.

    All three N×1×H×W: `logits` of any range, `mask` 0 to 1, `weight` as `pixel_weight` gives it.
    The published code passes `reduce="none"` where `reduction` was meant, so that its
    cross-entropy is a plain mean; `weighted_bce` gives the form that weighs each pixel.
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


def stage_losses(logits: SegmentationLogits, mask: Tensor, *, weighted_bce: bool = False) -> Tensor:
    """The loss of each output, coarse, middle and fine, as one tensor of 3.

    The logits and the mask are N×1×S×S.
    """
    weight = pixel_weight(mask)
    return torch.stack(
        [structure_loss(stage, mask, weight, weighted_bce=weighted_bce) for stage in logits]
    )
