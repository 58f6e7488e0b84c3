"""Window attention that computes nothing on padding.

Where windows do not divide a map, SAM2 pads it with zeros after the norm, so that a padded token's
key and value are the projection's biases: all the same, and zero once those biases are dropped (see
explicit_attention).  In a window of r real and p padded tokens those p are therefore one more score
of 0 with weight p, whose value is 0:

    softmax([q·k₁ … q·kᵣ, log p]) [v₁ … vᵣ, 0]

Padded queries are cropped afterwards, so they are not computed at all.  At 352×352, Hiera-L's third
stage pads 22×22 to 32×32: more padding than map.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsunet.model import DSUNet
from dsunet_export.rewrites.explicit_attention import AttentionProjections, attend, merge_heads


def unpad_windows(model: DSUNet) -> None:
    """Replace every block of Hiera whose windows are padded."""
    trunk = model.hiera.trunk
    side = model.config.hiera.map_sizes[0]
    for index, block in enumerate(trunk.blocks):
        if block.window_size and side % block.window_size:
            trunk.blocks[index] = UnpaddedWindowBlock(block, side)
        if block.q_stride:
            side //= block.q_stride[0]


@dataclass(frozen=True)
class Band:
    """A run of equally long windows along one axis of a map."""

    count: int
    length: int

    def shrunk(self, stride: int) -> Band:
        """The same windows after pooling."""
        return Band(self.count, self.length // stride)


def bands(side: int, window: int) -> tuple[Band, ...]:
    """The whole windows along an axis, and the cut one at its end."""
    whole, rest = divmod(side, window)
    runs = (Band(whole, window), Band(1, rest))
    return tuple(band for band in runs if band.count and band.length)


def rectangles(x: Tensor, bands: tuple[Band, ...]) -> list[tuple[Tensor, ...]]:
    """B×H×W×C cut into rows and columns of rectangles, one for each pair of bands."""
    sides = [band.count * band.length for band in bands]
    return [row.split(sides, 2) for row in x.split(sides, 1)]


class UnpaddedWindowBlock(nn.Module):
    """SAM2's MultiScaleBlock for a map of `side`² that its windows do not divide."""

    def __init__(self, block: Any, side: int) -> None:
        super().__init__()
        self.window_tokens = block.window_size**2
        self.stride = block.q_stride[0] if block.q_stride else 1
        self.bands = bands(side, block.window_size)
        self.project = AttentionProjections(block.attn)
        self.norm1, self.norm2, self.mlp = block.norm1, block.norm2, block.mlp
        self.shortcut_proj = block.proj if block.dim != block.dim_out else None

    def forward(self, x: Tensor) -> Tensor:
        """B×side×side×C to B×s×s×D, half the side where the block pools."""
        normed = self.norm1(x)
        shortcut = x if self.shortcut_proj is None else self.pool(self.shortcut_proj(normed))
        query_bands = tuple(band.shrunk(self.stride) for band in self.bands)
        queries = rectangles(self.pool(self.project.query(normed)), query_bands)
        keys = rectangles(self.project.key(normed), self.bands)
        values = rectangles(self.project.value(normed), self.bands)
        attended = [
            [
                self.attend(queries[i][j], keys[i][j], values[i][j], row, column)
                for j, column in enumerate(self.bands)
            ]
            for i, row in enumerate(self.bands)
        ]
        joined = torch.cat([torch.cat(row, 2) for row in attended], 1)
        x = shortcut + self.project.out(joined)
        refined: Tensor = self.mlp(self.norm2(x))
        return x + refined

    def pool(self, x: Tensor) -> Tensor:
        """B×H×W×C, the maximum over each square of stride × stride."""
        if self.stride == 1:
            return x
        pooled = F.max_pool2d(x.permute(0, 3, 1, 2), self.stride)
        return pooled.permute(0, 2, 3, 1)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, row: Band, column: Band) -> Tensor:
        """Attention inside each window of one rectangle of the map; gives the same rectangle."""
        query_row, query_column = row.shrunk(self.stride), column.shrunk(self.stride)
        q = self.windows(query, query_row, query_column)
        k, v = self.windows(key, row, column), self.windows(value, row, column)
        padding = self.window_tokens - row.length * column.length
        if padding:
            k, v = F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, 0, 0, 1))
            weight = k.new_tensor([0.0] * (k.shape[2] - 1) + [math.log(padding)])
            attended = torch.softmax(q @ k.transpose(-1, -2) + weight, -1) @ v
        else:
            attended = attend(q, k, v)
        return self.rectangle(attended, query_row, query_column)

    def windows(self, x: Tensor, row: Band, column: Band) -> Tensor:
        """A rectangle B×H×W×(heads·d) as its windows: (B·windows)×heads×tokens×d."""
        if row.count * column.count > 1:
            x = x.unflatten(2, (column.count, column.length)).unflatten(1, (row.count, row.length))
            x = x.transpose(2, 3).flatten(0, 2)
        return self.project.heads(x.flatten(1, 2))

    def rectangle(self, attended: Tensor, row: Band, column: Band) -> Tensor:
        """Undo `windows`: B×height×width×(heads·d)."""
        x: Tensor = merge_heads(attended).unflatten(1, (row.length, column.length))
        if row.count * column.count > 1:
            x = x.unflatten(0, (-1, row.count, column.count)).transpose(2, 3)
            x = x.flatten(3, 4).flatten(1, 2)
        return x
