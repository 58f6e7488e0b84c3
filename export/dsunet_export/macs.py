"""Counting multiply-adds."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from dsunet.config import DSUNetConfig
from dsunet.model import DSUNet
from dsunet_export.tracing import run_on_meta


def count_macs(model: DSUNet) -> int:
    """Multiply-adds of matrix products, convolutions and attention for one image."""
    with FlopCounterMode(display=False) as counter:
        run_on_meta(model, encoder_inputs(model.config, batch=1))
    return int(counter.get_total_flops()) // 2


def encoder_inputs(config: DSUNetConfig, batch: int) -> dict[str, torch.Tensor]:
    """Example inputs of the network, by name: `hiera`, and `dino` if there is one."""
    inputs = {"hiera": torch.zeros(batch, 3, config.hiera.image_size, config.hiera.image_size)}
    if config.injection.hiera_levels:
        inputs["dino"] = torch.zeros(batch, 3, config.dino.image_size, config.dino.image_size)
    return inputs
