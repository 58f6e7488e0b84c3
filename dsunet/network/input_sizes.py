"""Other input sizes for a model.

Of all weights only DINOv2's position embeddings depend on a size.  Hiera resamples its own in every
forward pass.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dsunet.network.model import DSUNet, build_empty

POSITIONS = "dino.vit.pos_embed"
"""Key of DINOv2's position embeddings in a DSUNet's state dict."""

_OFFSET = 0.1
"""Added to the new side before the scale is computed, as DINOv2 does."""


def resize_inputs(
    model: DSUNet, *, hiera_size: int | None = None, dino_size: int | None = None
) -> DSUNet:
    """Give a model other input sizes.

    Masks change, and are worse the further a size is from that of the training, until the model is
    fine-tuned.  A model that was resized before has resampled position embeddings: start from the
    original one.

    Args:
        model: The model, on the CPU.
        hiera_size: Side of Hiera's square input in pixels, a multiple of 32 (of 4 times the first
            window too).  None keeps it.
        dino_size: Side of DINOv2's square input in pixels, a multiple of 14.  None keeps it.

    Returns:
        A new model in the mode of `model`, which shares its other weights, with gradients required
        only for what the paper trains.

    Raises:
        ConfigError: A size does not fit the network; the message names some that do.

    Example:
        >>> model = resize_inputs(load_model("model.pth"), dino_size=266)
        >>> model.config.input_sizes
        {'hiera': 352, 'dino': 266}
    """
    config = model.config.resized(hiera_size=hiera_size, dino_size=dino_size)
    state = model.state_dict()
    if POSITIONS in state:
        state[POSITIONS] = resample_positions(state[POSITIONS], config.dino.map_size)
    resized = build_empty(config)
    resized.load_state_dict(state, assign=True)
    return resized.train(model.training)


def resample_positions(embeddings: Tensor, side: int) -> Tensor:
    """Resample a ViT's position embeddings to another grid, as DINOv2's models without registers.

    That is bicubic, without antialiasing, at a scale of (`side` + 0.1) / the old side.  Computed in
    float64, so that every machine gets the same float32 values, which `encoder_hashes` covers.

    Args:
        embeddings: Those of the class token and of a square grid, 1×(1 + n²)×D.
        side: Side of the new grid.

    Returns:
        Embeddings 1×(1 + side²)×D of the same type; `embeddings` itself if the side is the same.
    """
    old = math.isqrt(embeddings.shape[1] - 1)
    if old == side:
        return embeddings
    class_token, patches = embeddings[:, :1], embeddings[:, 1:]
    grid = patches.double().transpose(1, 2).unflatten(2, (old, old))
    scale = (side + _OFFSET) / old
    resampled = F.interpolate(grid, scale_factor=(scale, scale), mode="bicubic")
    patches = resampled.flatten(2).transpose(1, 2).to(embeddings.dtype)
    return torch.cat((class_token, patches), 1)
