"""Pillow's antialiased bilinear resampling of 8-bit images, for ONNX graphs.

Resampling is written as matmuls whose weights are computed in the graph from the image size (for a
fixed size they are constants).  It works for any size on any backend; TensorRT, for example, has no
antialiased Resize.  An output pixel depends on few input pixels, so outputs are computed in blocks
of neighbours, each from its own window of inputs, with a fraction of the multiply-adds of a matmul
over whole rows.

Pillow (libImaging/Resample.c) resamples horizontally, rounds to 8 bits, resamples vertically and
rounds again, in integer arithmetic with 22-bit weights.  Here the same is computed exactly in
float32: weights are split into an upper and a lower part of 11 bits, so that every product and, up
to 32 input pixels per output, every sum is an integer below 2²⁴.  Parts of 11 bits are also exact
in TF32 and FP16.

Pillow 13 resamples tall images vertically first.  This module keeps the order of all versions
before it, with which the published weights were trained; results differ by at most 1.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

SPLIT = 1 << 11
"""2¹¹: splits weights of 22 bits, Pillow's PRECISION_BITS for 8-bit images, into two parts."""

_DIGITS = (6, 5, 6, 5)
"""Bits of the digits in which weights of 22 bits are divided."""

MAX_BLOCK_SIZE = 16
"""Largest number of outputs in a block.  Smaller blocks copy more inputs twice, larger ones
multiply more zeros."""


class Windows(NamedTuple):
    """Resampling along one axis, in K blocks of B outputs, each from a window of L inputs.

    inputs  K×L, int32: the input pixels of each window
    upper   K×L×B, float32: the upper 11 bits of Pillow's weights, integers from 0 to 2¹¹
    lower   K×L×B, float32: the lower 11 bits, integers below 2¹¹
    """

    inputs: Tensor
    upper: Tensor
    lower: Tensor


def resample(image: Tensor, side: int) -> Tensor:
    """Resample N×H×W×3 to N×3×side×side, both float32 with integers from 0 to 255."""
    return _resample_down(_resample_across(image, side), side)


def block_size(side: int) -> int:
    """Return the number of outputs in a block: the largest allowed divisor of `side`."""
    return next(size for size in range(MAX_BLOCK_SIZE, 0, -1) if side % size == 0)


def resampling_windows(size: int, side: int, device: torch.device | None = None) -> Windows:
    """Compute the windows and weights of Pillow's BILINEAR filter from `size` to `side` pixels.

    The filter is a triangle that ends at the next pixel, of the input if the image is enlarged, of
    the output if it is reduced.  Distances are integers in units of 1 / (2 side) input pixels.

    All arithmetic is in int32, because some runtimes silently compute int64 in 32 bits
    (OpenVINO).  It is exact up to a `size` of 4096 √side: 51,811 pixels for the smallest side, 160.
    """
    block = block_size(side)
    reach = 2 * torch.sym_max(size, side)
    # From the first output's left end, rounded down, to the last one's right end.
    length = ((block - 1) * size + reach) // side + 2
    outputs = torch.arange(side, dtype=torch.int32, device=device).view(-1, block)
    centres = (2 * outputs + 1) * size
    starts = ((centres[:, :1] - reach) // (2 * side)).clamp(min=0)
    inputs = starts + torch.arange(length, dtype=torch.int32, device=device)
    distances = ((2 * inputs + 1).unsqueeze(2) * side - centres.unsqueeze(1)).abs()
    # A window may extend beyond the image, with weight 0.
    heights = (-distances + reach).clamp(min=0) * (inputs < size).unsqueeze(2)
    steps = _divide(heights, heights.sum(1, keepdim=True, dtype=torch.int32))
    upper = steps // SPLIT
    return Windows(inputs.clamp(max=size - 1), upper.float(), (steps - upper * SPLIT).float())


def _divide(heights: Tensor, total: Tensor) -> Tensor:
    """Compute heights / total in steps of 2⁻²², rounded half up, by long division.

    The largest number is 2⁶ `total`.  The numbers exceed 2²⁴, so `//` is needed: the exporter
    converts torch.div with a rounding mode to float32.
    """
    remainder, steps = heights, torch.zeros_like(heights)
    for bits in _DIGITS:
        shifted = remainder * (1 << bits)
        digit = shifted // total
        remainder = shifted - digit * total
        steps = steps * (1 << bits) + digit
    return steps + (2 * remainder >= total).int()


def _resample_across(image: Tensor, side: int) -> Tensor:
    """Resample rows: N×H×W×3 to K×N×H×3B, blocks of B outputs in red, then green, then blue."""
    batch, height, width, _ = image.shape
    inputs, upper, lower = resampling_windows(width, side, image.device)
    blocks = len(inputs)
    rows = image.flatten(0, 1).index_select(1, inputs.flatten())
    windows = rows.view(batch * height, blocks, -1).transpose(0, 1)  # K×NH×3L
    # Pixels stay interleaved, to avoid a transposition of the whole image.  Therefore two thirds of
    # the weights are zero: those from one colour to another.
    halves = torch.stack([upper, lower], 2).unsqueeze(3)  # K×L×2×1×B
    same_colour = torch.eye(3, device=image.device).view(3, 1, 3, 1)
    weights = halves.unsqueeze(2) * same_colour  # K×L×3×2×3×B
    sums = windows @ weights.flatten(3).flatten(1, 2)  # K×NH×6B
    half = sums.shape[2] // 2
    return _round(sums[:, :, :half], sums[:, :, half:]).view(blocks, batch, height, -1)


def _resample_down(columns: Tensor, side: int) -> Tensor:
    """Resample columns: K×N×H×3B to N×3×side×side."""
    blocks, batch, height, _ = columns.shape
    inputs, upper, lower = resampling_windows(height, side, columns.device)
    windows = columns.index_select(2, inputs.flatten())
    windows = windows.view(blocks, batch, len(inputs), -1, columns.shape[3])  # K×N×K×L×3B
    sums = torch.cat([upper, lower], 2).transpose(1, 2) @ windows  # K×N×K×2B×3B
    half = sums.shape[3] // 2
    pixels = _round(sums[:, :, :, :half], sums[:, :, :, half:])
    pixels = pixels.view(*pixels.shape[:4], 3, -1)  # K×N×K×B×3×B
    return pixels.permute(1, 4, 2, 3, 0, 5).reshape(batch, 3, side, side)


def _round(upper: Tensor, lower: Tensor) -> Tensor:
    """Compute (upper · 2¹¹ + lower) / 2²², rounded half up, with no number above 2²⁴."""
    carried = upper + (lower / SPLIT).floor()
    return ((carried + SPLIT / 2) / SPLIT).floor()
