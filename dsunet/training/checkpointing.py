"""Memory for time: activations that are computed again where the gradient needs them."""

from __future__ import annotations

import functools

from torch import nn
from torch.utils.checkpoint import checkpoint

from dsunet.model import DSUNet


def checkpoint_blocks(model: DSUNet) -> None:
    """Keep only the inputs of Hiera's blocks and adapters, and of DINOv2's blocks if trained.

    Gradients pass through a frozen block to the adapters before it, so its activations would be
    kept otherwise.  The model's structure and its state's keys stay as they are.
    """
    modules = [*model.hiera.adapters, *model.hiera.trunk.blocks]
    if model.dino is not None and any(p.requires_grad for p in model.dino.parameters()):
        modules += model.dino.vit.blocks
    for module in modules:
        _recompute(module)


def _recompute(module: nn.Module) -> None:
    """Let a module compute its forward pass a second time during the backward pass."""
    # Nothing in a block draws random numbers, so none have to be kept either.
    module.forward = functools.partial(
        checkpoint, module.forward, use_reentrant=False, preserve_rng_state=False
    )
