"""The decoders: three stages, each of which merges a coarse map with the next finer one.

A stage maps N×C×h×w and N×C×H×W to N×C×H×W, with values of at least 0.  `Decoder` selects one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsunet.network.config import Decoder, DSUNetConfig
from dsunet.network.fusion import ConvNormReLU


class MapAttention(nn.Module):
    """Scaled dot-product attention, one head, between all positions of a map."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend from `query` to `key` and `value`, all N×C×H×W; returns N×C×H×W."""
        # Fused kernels require contiguous channels.  Other kernels store the scores of all pairs of
        # positions: 2 GB for eight maps of 88×88.
        q, k, v = (
            x.flatten(2).transpose(1, 2).contiguous().unsqueeze(1) for x in (query, key, value)
        )
        attended = F.scaled_dot_product_attention(q, k, v)
        return attended.squeeze(1).transpose(1, 2).reshape(query.shape)


class SFF(nn.Module):
    """Spatial feature fusion: a coarse map guides a finer one by attention over all positions."""

    def __init__(self, channels: int, attention_channels: int) -> None:
        super().__init__()
        c, a = channels, attention_channels
        self.small = ConvNormReLU(c, c)
        self.big = ConvNormReLU(c, c)
        self.query = nn.Sequential(ConvNormReLU(c, a), ConvNormReLU(a, a))
        self.key = nn.Sequential(ConvNormReLU(c, a), ConvNormReLU(a, a))
        self.value = ConvNormReLU(c, a)
        self.attention = MapAttention()
        self.out = ConvNormReLU(a, c)
        self.merge = ConvNormReLU(2 * c, c, 3)

    def forward(self, small: Tensor, big: Tensor) -> Tensor:
        """Fuse maps N×C×h×w and N×C×H×W into one N×C×H×W, with values of at least 0."""
        size = big.shape[2:]
        guide = self.small(F.interpolate(small, size, mode="bilinear")) + self.big(big)
        attended = self.attention(self.query(guide), self.key(guide), self.value(big))
        fused: Tensor = self.merge(torch.cat((self.out(attended), big), 1))
        return fused


class UNetStage(nn.Module):
    """SAM2-UNet's stage (arXiv:2408.08870, section 2.4): concatenation and two convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        c = channels
        self.convs = nn.Sequential(ConvNormReLU(2 * c, c, 3), ConvNormReLU(c, c, 3))

    def forward(self, small: Tensor, big: Tensor) -> Tensor:
        """Merge maps N×C×h×w and N×C×H×W into one N×C×H×W, with values of at least 0."""
        enlarged = F.interpolate(small, big.shape[2:], mode="bilinear", align_corners=True)
        merged: Tensor = self.convs(torch.cat((big, enlarged), 1))
        return merged


def build_decoder(config: DSUNetConfig) -> nn.ModuleList:
    """Build the stages of a configuration's decoder, coarsest first, newly initialised."""
    width, attention = config.decoder_channels, config.attention_channels
    if config.decoder is Decoder.UNET:
        return nn.ModuleList(UNetStage(width) for _ in range(3))
    return nn.ModuleList(SFF(width, attention) for _ in range(3))
