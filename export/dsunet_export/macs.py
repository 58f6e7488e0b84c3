"""Count multiply-adds."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dsunet.network.model import DSUNet
from dsunet_export.graph.forms import example_inputs


def count_macs(model: DSUNet) -> int:
    """Count the multiply-adds of matmuls, convolutions and attention for one image."""
    with FlopCounterMode(display=False) as counter:
        run_on_meta(model, example_inputs(model.config, batch=1))
    return int(counter.get_total_flops()) // 2


def run_on_meta(module: nn.Module, inputs: dict[str, Tensor]) -> None:
    """Run a module on meta tensors, for hooks and counters."""
    with torch.no_grad(), torch.device("meta"):
        state = dict(module.named_parameters()) | dict(module.named_buffers())
        weights = {name: tensor.to("meta") for name, tensor in state.items()}
        arguments = {name: torch.empty(v.shape, dtype=v.dtype) for name, v in inputs.items()}
        torch.func.functional_call(module, weights, (), arguments)
