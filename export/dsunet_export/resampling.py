"""Pillow's antialiased bilinear resampling of 8-bit images, written for a graph.

Matrix products whose weights are computed in the graph from the image's size, so that one artifact
takes images of any size on any backend: TensorRT, for one, has no antialiased Resize.

Pillow (libImaging/Resample.c) resamples horizontally, rounds to 8 bits, then vertically, and rounds
again, all in integers with weights of 22 bits.  So does this, in float32 that never rounds: weights
are split into two halves of 11 bits, so that every product and, up to 32 input pixels for each
output, every sum is a whole number below 2²⁴.  Halves of 11 bits also survive TF32 and FP16 units.

Pillow 13 takes the vertical pass first for tall images; this keeps the order of every version
before it, with which the published weights were trained.  The two differ by at most 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

HALF = 1 << 11
"""Pillow's PRECISION_BITS for 8-bit images is 22, two halves of 11 bits."""


def resample(image: Tensor, size: int) -> Tensor:
    """N×3×H×W to N×3×size×size, both float32 that holds whole numbers from 0 to 255."""
    height, width = image.shape[2:]
    column_weights = (w.T for w in resampling_weights(width, size))
    image = _round(*(image @ w for w in column_weights))
    return _round(*(w @ image for w in resampling_weights(height, size)))


def resampling_weights(size: int, new_size: int) -> tuple[Tensor, Tensor]:
    """The upper and the lower 11 bits of Pillow's BILINEAR weights, each new_size×size, float32.

    Whole numbers, the upper from 0 to 2¹¹, the lower below 2¹¹.

    The filter is a triangle that reaches to the next pixel: of the input where the image grows, of
    the output where it shrinks.  Distances are counted in units of 1 / (2 new_size) input pixels,
    which makes them whole.
    """
    outputs = 2 * torch.arange(new_size).unsqueeze(1) + 1
    inputs = 2 * torch.arange(size).unsqueeze(0) + 1
    distances = (inputs * new_size - outputs * size).abs()
    heights = (-distances + 2 * torch.sym_max(size, new_size)).clamp(min=0)
    total = heights.sum(1, keepdim=True)
    # heights / total in steps of 2⁻²², rounded half up.  These numbers pass 2²⁴, and the exporter
    # writes only `//` as a division of integers: torch.div with a rounding mode goes through
    # float32.
    steps = (2 * HALF * HALF * heights + total) // (2 * total)
    upper = steps // HALF
    return upper.float(), (steps - upper * HALF).float()


def _round(upper: Tensor, lower: Tensor) -> Tensor:
    """(upper · 2¹¹ + lower) / 2²², rounded half up, without a number above 2²⁴."""
    carried = upper + (lower / HALF).floor()
    return ((carried + HALF / 2) / HALF).floor()
