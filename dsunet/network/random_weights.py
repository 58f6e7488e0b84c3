"""Randomly initialised weights with which every branch contributes to the output."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dsunet.network.config import DSUNetConfig
from dsunet.network.model import DSUNet, build_empty


def random_model(config: DSUNetConfig, seed: int = 0) -> DSUNet:
    """Build a randomly initialised model for tests of exports: all its parts affect the output.

    PyTorch's default initialisation is unsuitable: LayerScale would be 1e-5, position embeddings
    zero, attention uniform, and batch norm the identity.  The same configuration and seed give the
    same weights.

    Args:
        config: Configuration of the model.
        seed: Random seed, 0 or more.

    Returns:
        The model: float32, on the CPU, in evaluation mode.
    """
    model = build_empty(config)
    generator = torch.Generator().manual_seed(seed)
    state = {key: _random_tensor(key, like, generator) for key, like in model.state_dict().items()}
    model.load_state_dict(state, assign=True)
    return model.eval()


def _random_tensor(key: str, like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw the tensor of one key of a DSUNet's state dict, with the shape of `like`."""
    if not like.is_floating_point():
        return torch.zeros(like.shape, dtype=like.dtype)
    mean, deviation = _distribution(key, like.shape)
    tensor = torch.empty(like.shape).normal_(mean, deviation, generator=generator)
    return tensor.abs_() if key.endswith("running_var") else tensor


def _distribution(key: str, shape: torch.Size) -> tuple[float, float]:
    """Mean and standard deviation of a parameter."""
    name = key.rsplit(".", 1)[-1]
    if name == "running_mean":
        return 0.0, 0.1
    if name == "gamma":  # DINOv2's layer scale
        return 0.3, 0.05
    if name in ("pos_embed", "pos_embed_window", "cls_token"):
        return 0.0, 0.3
    if "_scale." in key:  # of the wavelet convolution
        return 0.5, 0.2
    if name == "bias":
        return 0.0, 0.01 if ".adapters." in key else 0.1
    if len(shape) == 1 and ".small." in key:  # a large coarse map, so that it affects the fusion
        return 2.0, 0.2
    if len(shape) == 1:  # batch and layer norm: weight, running_var
        return 1.0, 0.1
    gain = 1.0
    if ".adapters." in key:  # small: they add to the residual stream before every block
        gain = 0.2
    elif any(part in key for part in (".qkv.", ".query.", ".key.")):
        gain = 2.0  # attention neither uniform nor on one position
    return 0.0, gain / math.sqrt(math.prod(shape[1:]))
