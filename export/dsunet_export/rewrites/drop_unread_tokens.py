"""DINOv2's last block, computed only for the tokens that are read.

The wavelet path resamples the last map from 37×37 to 11×11 without antialiasing.  Each output reads
two rows and two columns, the middle one only one, so 21 of 37 rows and columns are read.  Keys and
values need every token, but queries, the residual, the MLP of the last block and the final norm are
computed for these 21×21 tokens only.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsunet.network.model import DSUNet
from dsunet_export.rewrites.explicit_attention import AttentionProjections, attend, merge_heads


def drop_unread_tokens(model: DSUNet) -> None:
    """Replace DINOv2's last block and the resampling of its map.

    Does nothing if several levels read the last map (ablation C) or if it is enlarged, because then
    all tokens are read.
    """
    if model.dino is None or len(model.inject) > len(model.dino.output_blocks):
        return
    wavelet: Any = model.inject["3"].wavelet
    side = model.config.dino.map_size
    weights = resampling_matrix(side, wavelet.resample.size)
    read = weights.any(0).nonzero().flatten()
    if len(read) == side:
        return
    patches = (read[:, None] * side + read).flatten()
    prefix = model.dino.vit.num_prefix_tokens
    # Keep the class token, so that the map still follows the prefix tokens.
    kept = torch.cat((torch.arange(prefix), patches + prefix))
    model.dino.vit.blocks[-1] = PartialBlock(model.dino.vit.blocks[-1], kept)
    dtype = model.dino.vit.pos_embed.dtype
    wavelet.resample = MatrixResample(weights[:, read].to(dtype))


def resampling_matrix(size: int, new_size: int) -> Tensor:
    """Return PyTorch's bilinear resampling along one axis as a matrix new_size×size."""
    basis = torch.eye(size, dtype=torch.float64).unsqueeze(0)
    return F.interpolate(basis, new_size, mode="linear").squeeze(0).T


class PartialBlock(nn.Module):
    """timm's Block, computed for some of its tokens."""

    kept: Tensor

    def __init__(self, block: Any, kept: Tensor) -> None:
        super().__init__()
        self.register_buffer("kept", kept, persistent=False)
        self.norm1, self.norm2, self.mlp = block.norm1, block.norm2, block.mlp
        self.project = AttentionProjections(block.attn)
        self.scale1, self.scale2 = block.ls1, block.ls2

    def forward(self, x: Tensor) -> Tensor:
        """Compute B×kept×C of B×N×C."""
        normed = self.norm1(x)
        project = self.project
        attended = attend(
            project.heads(project.query(normed.index_select(1, self.kept))),
            project.heads(project.key(normed)),
            project.heads(project.value(normed)),
        )
        x = x.index_select(1, self.kept) + self.scale1(project.out(merge_heads(attended)))
        scaled: Tensor = self.scale2(self.mlp(self.norm2(x)))
        return x + scaled


class MatrixResample(nn.Module):
    """Resampling of a square map by a matrix new × old, applied to rows and columns."""

    weights: Tensor

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Resample N×C×old×old to N×C×new×new."""
        return self.weights @ x @ self.weights.T
