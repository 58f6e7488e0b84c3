"""Window attention that pads after the projections instead of before.

Where windows do not divide a map, SAM2 pads it with zeros after the norm, so that key and value of
a padded token are the biases of the projections.  Without these biases (see explicit_attention)
they are zero, so zeros can be appended to the projected keys and values instead.  Padded queries
are cropped afterwards and may have any value.  At 352×352, Hiera-L's third stage pads 22×22 to
32×32, which is more padding than map.

Attention itself stays padded: with equal windows it is one matmul, and one TensorRT kernel, per
block.  Attention over cropped windows saves another percent of the multiply-adds but takes four
kernels.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from dsunet.network.model import DSUNet
from dsunet_export.rewrites.explicit_attention import AttentionProjections, attend, merge_heads


def pad_after_projection(model: DSUNet) -> None:
    """Replace every Hiera block whose windows are padded."""
    trunk = model.hiera.trunk
    side = model.config.hiera.map_sizes[0]
    for index, block in enumerate(trunk.blocks):
        if block.window_size and side % block.window_size:
            trunk.blocks[index] = PadAfterProjectionBlock(block)
        if block.q_stride:
            side //= block.q_stride[0]


class PadAfterProjectionBlock(nn.Module):
    """SAM2's MultiScaleBlock for a map that its windows do not divide, padded after projection."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.window = block.window_size
        self.stride = block.q_stride[0] if block.q_stride else 1
        self.project = AttentionProjections(block.attn)
        self.norm1, self.norm2, self.mlp = block.norm1, block.norm2, block.mlp
        self.shortcut_proj = block.proj if block.dim != block.dim_out else None

    def forward(self, x: Tensor) -> Tensor:
        """Compute B×h×w×D of B×H×W×C; half the sides where the block pools."""
        project, normed = self.project, self.norm1(x)
        shortcut = x if self.shortcut_proj is None else self.pool(self.shortcut_proj(normed))
        query = self.pool(project.query(normed))
        height, width = query.shape[1:3]
        attended = attend(
            project.heads(windows(query, self.window // self.stride)),
            project.heads(windows(project.key(normed), self.window)),
            project.heads(windows(project.value(normed), self.window)),
        )
        joined = from_windows(merge_heads(attended), self.window // self.stride, height, width)
        x = shortcut + project.out(joined)
        refined: Tensor = self.mlp(self.norm2(x))
        return x + refined

    def pool(self, x: Tensor) -> Tensor:
        """Max-pool B×H×W×C over squares of stride × stride."""
        if self.stride == 1:
            return x
        pooled = F.max_pool2d(x.permute(0, 3, 1, 2), self.stride)
        return pooled.permute(0, 2, 3, 1)


def windows(x: Tensor, side: int) -> Tensor:
    """Pad B×H×W×C with zeros to whole windows and split it into (B·windows)×side²×C."""
    rows, columns = (-(-size // side) for size in x.shape[1:3])
    x = F.pad(x, (0, 0, 0, columns * side - x.shape[2], 0, rows * side - x.shape[1]))
    cut = x.unflatten(2, (columns, side)).unflatten(1, (rows, side)).transpose(2, 3)
    result: Tensor = cut.flatten(0, 2).flatten(1, 2)
    return result


def from_windows(x: Tensor, side: int, height: int, width: int) -> Tensor:
    """Join windows to B×height×width×C and crop the padding: the inverse of `windows`."""
    rows, columns = -(-height // side), -(-width // side)
    joined = x.unflatten(1, (side, side)).unflatten(0, (-1, rows, columns)).transpose(2, 3)
    result: Tensor = joined.flatten(3, 4).flatten(1, 2)[:, :height, :width]
    return result
