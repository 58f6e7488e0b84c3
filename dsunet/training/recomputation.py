"""Activation checkpointing: recompute activations in the backward pass to save memory."""

from __future__ import annotations

import functools

from torch import nn
from torch.utils.checkpoint import checkpoint

from dsunet.network.model import DSUNet


def recompute_blocks(model: DSUNet) -> None:
    """Store only the inputs of Hiera's blocks and adapters, and of DINOv2's blocks if trained.

    Gradients pass through frozen blocks to the adapters before them, so PyTorch would store the
    activations of all blocks.  The model's structure and the keys of its state dict do not change.
    """
    modules = [*model.hiera.adapters, *model.hiera.trunk.blocks]
    if model.dino is not None and any(p.requires_grad for p in model.dino.parameters()):
        modules += model.dino.vit.blocks
    for module in modules:
        _recompute(module)


def _recompute(module: nn.Module) -> None:
    """Recompute a module's forward pass during the backward pass."""
    # The blocks use no random numbers, so the RNG state need not be stored.
    module.forward = functools.partial(
        checkpoint, module.forward, use_reentrant=False, preserve_rng_state=False
    )
