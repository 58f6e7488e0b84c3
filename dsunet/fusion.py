"""The modules between the encoders and the mask: CGA, RFB and SFF."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvNorm(nn.Sequential):
    """A convolution without bias, then batch norm; the output has the size of the input."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int | tuple[int, int], dilation: int = 1
    ) -> None:
        super().__init__(
            nn.Conv2d(
                in_channels, out_channels, kernel, padding="same", dilation=dilation, bias=False
            ),
            nn.BatchNorm2d(out_channels),
        )


class ConvNormReLU(nn.Sequential):
    """`ConvNorm`, then ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 1) -> None:
        super().__init__(ConvNorm(in_channels, out_channels, kernel), nn.ReLU())


class CGA(nn.Module):
    """Content-guided attention (DEA-Net, TIP 2024): blends two maps, pixel by pixel."""

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        self.channel_attention = nn.Sequential(
            nn.Conv2d(channels, channels // reduction, 1),
            nn.ReLU(),
            nn.Conv2d(channels // reduction, channels, 1),
        )
        self.spatial_attention = nn.Conv2d(2, 1, 7, padding=3, padding_mode="reflect")
        self.pixel_attention = nn.Conv2d(
            2 * channels, channels, 7, padding=3, padding_mode="reflect", groups=channels
        )
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Fuse two maps N×C×H×W, from Hiera and from the wavelet path, into one."""
        total = x + y
        pooled = torch.cat((total.mean(1, keepdim=True), total.amax(1, keepdim=True)), 1)
        average = total.mean((2, 3), keepdim=True)
        coarse = self.channel_attention(average) + self.spatial_attention(pooled)
        # Channel k of `total` and of `coarse` are adjacent: one group of the convolution.
        pairs = torch.stack((total, coarse), 2).flatten(1, 2)
        # The published code applies the sigmoid twice, and its weights were trained with that.
        weight = self.pixel_attention(pairs).sigmoid().sigmoid()
        blended: Tensor = self.project(total + weight * x + (1 - weight) * y)
        return blended


class RFB(nn.Module):
    """Receptive field block (SINet's modified form): many receptive fields, few channels."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        c = out_channels
        self.branches = nn.ModuleList([ConvNorm(in_channels, c, 1)])
        for k in (3, 5, 7):
            self.branches.append(
                nn.Sequential(
                    ConvNorm(in_channels, c, 1),
                    ConvNorm(c, c, (1, k)),
                    ConvNorm(c, c, (k, 1)),
                    ConvNorm(c, c, 3, dilation=k),
                )
            )
        self.merge = ConvNorm(4 * c, c, 3)
        self.shortcut = ConvNorm(in_channels, c, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map N×in_channels×H×W to N×out_channels×H×W, with values of at least 0."""
        branches = torch.cat([branch(x) for branch in self.branches], 1)
        return F.relu(self.merge(branches) + self.shortcut(x))


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
