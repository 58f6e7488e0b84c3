"""SFF's attention on a token sequence B×N×C, with its 1×1 convolutions as linear layers.

The computation is the same; the layout decides whether TensorRT fuses it.  With convolutions, q, k
and v are maps B×C×H×W that are transposed to tokens between projection and attention.  TensorRT
moves the transposition into the matmuls, has no fused kernel for operands of that layout, and
writes the scores to memory: 7744×7744, twice, in `large`.  Projected from tokens, q, k and v have
the layout of its fused attention, and no score is written to memory.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsunet.network.decoders import SFF
from dsunet.network.model import DSUNet
from dsunet_export.rewrites.explicit_attention import attend
from dsunet_export.rewrites.fold_scales import with_norm


def sff_on_tokens(model: DSUNet) -> None:
    """Replace every SFF by one with its attention on tokens."""
    for index, stage in enumerate(model.decoder):
        if isinstance(stage, SFF):
            model.decoder[index] = TokenSFF(stage)


class TokenSFF(nn.Module):
    """SFF with its attention, and the projections around it, on tokens."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.small, self.big, self.merge = block.small, block.big, block.merge
        # relu(s x) is s relu(x): the attention's scale goes into the query's last projection.
        scale = 1 / math.sqrt(block.value[0][0].out_channels)
        self.query = nn.Sequential(_on_tokens(block.query[0]), _on_tokens(block.query[1], scale))
        self.key = nn.Sequential(*(_on_tokens(layer) for layer in block.key))
        self.value = _on_tokens(block.value)
        self.out = _on_tokens(block.out)

    def forward(self, small: Tensor, big: Tensor) -> Tensor:
        """Fuse maps N×C×h×w and N×C×H×W to a non-negative map N×C×H×W."""
        size = big.shape[2:]
        guide = self.small(F.interpolate(small, size, mode="bilinear")) + self.big(big)
        tokens = guide.flatten(2).transpose(1, 2)
        value = self.value(big.flatten(2).transpose(1, 2))
        attended = self.out(attend(self.query(tokens), self.key(tokens), value))
        attended_map = attended.transpose(1, 2).unflatten(2, size)
        fused: Tensor = self.merge(torch.cat((attended_map, big), 1))
        return fused


def _on_tokens(conv_norm_relu: Any, scale: float = 1.0) -> nn.Sequential:
    """Convert a 1×1 convolution with ReLU to a scaled linear layer with ReLU, for B×N×C."""
    conv, norm = conv_norm_relu[0]
    if not isinstance(norm, nn.Identity):
        conv = with_norm(conv, norm)
    layer = nn.Linear(conv.in_channels, conv.out_channels, device="meta")
    layer.weight = nn.Parameter(conv.weight.detach().flatten(1) * scale, requires_grad=False)
    layer.bias = nn.Parameter(conv.bias.detach() * scale, requires_grad=False)
    return nn.Sequential(layer, nn.ReLU())
