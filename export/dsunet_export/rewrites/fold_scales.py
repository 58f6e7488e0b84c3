"""Factors that follow a linear operation, multiplied into its weights.

Batch norm into the convolution before it, DINOv2's layer scale into the linear layer before it,
WTConv's scales into its depthwise convolutions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dsunet.fusion import ConvNorm
from dsunet.model import DSUNet
from dsunet.wavelet import WaveletPath, WTConv


def fold_scales(model: DSUNet) -> None:
    """Fold every such factor; the modules that held them become identities."""
    for module in model.modules():
        if isinstance(module, ConvNorm):
            _fold_norm(module, "0", "1")
        elif isinstance(module, WaveletPath):
            _fold_norm(module, "pointwise", "norm")
        elif isinstance(module, WTConv):
            _fold_factor(module.base_conv, module.base_scale.weight.flatten())
            _fold_factor(module.subband_conv, module.subband_scale.weight.flatten())
            module.base_scale = module.subband_scale = nn.Identity()  # type: ignore[assignment]
    for block in model.dino.vit.blocks if model.dino else ():
        _fold_factor(block.attn.proj, block.ls1.gamma)
        _fold_factor(block.mlp.fc2, block.ls2.gamma)
        block.ls1 = block.ls2 = nn.Identity()


def _fold_norm(parent: nn.Module, conv: str, norm: str) -> None:
    fused = fuse_conv_bn_eval(parent.get_submodule(conv), parent.get_submodule(norm))
    parent.register_module(conv, fused)
    parent.register_module(norm, nn.Identity())


@torch.no_grad()
def _fold_factor(layer: nn.Linear | nn.Conv2d, factor: Tensor) -> None:
    """Scale the layer's output channels.

    New tensors, not in place: the old ones may belong to a checkpoint mapped from disk.
    """
    shape = (-1,) + (1,) * (layer.weight.ndim - 1)
    layer.weight = nn.Parameter(layer.weight * factor.view(shape))
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias * factor)
