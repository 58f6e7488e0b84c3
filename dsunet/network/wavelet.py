"""Wavelet convolution, and the path that adapts a DINOv2 map to the shape of a Hiera map."""

from __future__ import annotations

import pywt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

SUBBANDS = 4


def analysis_filters(wavelet: str = "db1") -> Tensor:
    """The four 2-D analysis filters 4×k×k of an orthogonal wavelet from PyWavelets.

    Their order is that of the paper's checkpoints: mean, difference of rows, difference of columns,
    both.  They are correlation kernels, as `conv2d` expects.
    """
    bank = pywt.Wavelet(wavelet)
    low = torch.tensor(bank.dec_lo[::-1], dtype=torch.float32, device="cpu")
    high = torch.tensor(bank.dec_hi[::-1], dtype=torch.float32, device="cpu")
    pairs = ((low, low), (high, low), (low, high), (high, high))
    return torch.stack([torch.outer(rows, columns) for rows, columns in pairs])


class Scale(nn.Module):
    """A learned scale per channel."""

    def __init__(self, channels: int, initial: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1, channels, 1, 1), initial))

    def forward(self, x: Tensor) -> Tensor:
        """Scale a map N×C×H×W."""
        return self.weight * x


class Resample(nn.Module):
    """Bilinear resampling to a square map, with half-pixel centres and no antialiasing."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Map N×C×h×w to N×C×size×size."""
        return F.interpolate(x, (self.size, self.size), mode="bilinear")


class WTConv(nn.Module):
    """Depthwise convolution in the Haar domain plus one in the image domain (WTConv, ECCV 2024).

    The Haar branch is one level of analysis, a 3×3 depthwise convolution of the sub-bands, a scale
    per sub-band, and synthesis.  It is added to a scaled 3×3 depthwise convolution of the input.
    """

    filters: Tensor

    def __init__(self, channels: int, kernel_size: int = 3) -> None:
        super().__init__()
        subbands = channels * SUBBANDS
        filters = analysis_filters().repeat(channels, 1, 1).unsqueeze(1)
        self.register_buffer("filters", filters, persistent=False)
        self.subband_conv = nn.Conv2d(
            subbands, subbands, kernel_size, padding="same", groups=subbands, bias=False
        )
        self.subband_scale = Scale(subbands, 0.1)
        self.base_conv = nn.Conv2d(channels, channels, kernel_size, padding="same", groups=channels)
        self.base_scale = Scale(channels, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Map N×C×H×W to the same shape; odd sizes are padded at the end and cropped again."""
        channels, (height, width) = x.shape[1], x.shape[2:]
        padded = F.pad(x, (0, width % 2, 0, height % 2))
        subbands = F.conv2d(padded, self.filters, stride=2, groups=channels)
        subbands = self.subband_scale(self.subband_conv(subbands))
        detail = F.conv_transpose2d(subbands, self.filters, stride=2, groups=channels)
        base: Tensor = self.base_scale(self.base_conv(x))
        return base + detail[:, :, :height, :width]


class WaveletPath(nn.Module):
    """The paper's channel modulation (section III): adapts a DINOv2 map to a Hiera map's shape.

    It is a bilinear resampling, a depthwise wavelet convolution, a 1×1 convolution, batch norm and
    ReLU.
    """

    def __init__(self, in_channels: int, out_channels: int, map_size: int) -> None:
        super().__init__()
        self.resample = Resample(map_size)
        self.depthwise = WTConv(in_channels)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map N×in_channels×h×w to N×out_channels×map_size×map_size, with values of at least 0."""
        return F.relu(self.norm(self.pointwise(self.depthwise(self.resample(x)))))
