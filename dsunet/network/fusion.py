"""The modules between the encoders and the decoder: CGA and RFB."""

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
    """Receptive field block (SINet's modified form): several receptive fields, reduced channels."""

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
