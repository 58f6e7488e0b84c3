"""Scales after linear operations, folded into their weights.

Batch norms are folded into the convolutions before them, DINOv2's layer scales into the linear
layers before them, and WTConv's scales into its depthwise convolutions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dsunet.network.fusion import ConvNorm
from dsunet.network.model import DSUNet
from dsunet.network.wavelet import WaveletPath, WTConv


def fold_scales(model: DSUNet) -> None:
    """Fold every scale into the weights before it; the modules of the scales become identities."""
    for module in model.modules():
        if isinstance(module, ConvNorm):
            module[0], module[1] = with_norm(module[0], module[1]), nn.Identity()
        elif isinstance(module, WaveletPath):
            module.pointwise = with_norm(module.pointwise, module.norm)
            module.norm = nn.Identity()  # type: ignore[assignment]
        elif isinstance(module, WTConv):
            _fold_factor(module.base_conv, module.base_scale.weight.flatten())
            _fold_factor(module.subband_conv, module.subband_scale.weight.flatten())
            module.base_scale = module.subband_scale = nn.Identity()  # type: ignore[assignment]
    for block in model.dino.vit.blocks if model.dino else ():
        _fold_factor(block.attn.proj, block.ls1.gamma)
        _fold_factor(block.mlp.fc2, block.ls2.gamma)
        block.ls1 = block.ls2 = nn.Identity()


def with_norm(conv: Any, norm: Any) -> nn.Conv2d:
    """Fuse a convolution and the batch norm after it into one convolution."""
    fused: nn.Conv2d = fuse_conv_bn_eval(conv, norm)
    return fused


@torch.no_grad()
def _fold_factor(layer: nn.Linear | nn.Conv2d, factor: Tensor) -> None:
    """Scale the output channels of a layer.

    The weights are replaced, not changed in place: they may be memory-mapped from a checkpoint.
    """
    shape = (-1,) + (1,) * (layer.weight.ndim - 1)
    layer.weight = nn.Parameter(layer.weight * factor.view(shape))
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias * factor)
