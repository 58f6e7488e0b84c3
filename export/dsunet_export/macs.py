"""Count multiply-adds."""

from __future__ import annotations

from torch.utils.flop_counter import FlopCounterMode

from dsunet.model import DSUNet
from dsunet_export.graph import example_inputs
from dsunet_export.trace import run_on_meta


def count_macs(model: DSUNet) -> int:
    """Count the multiply-adds of matmuls, convolutions and attention for one image."""
    with FlopCounterMode(display=False) as counter:
        run_on_meta(model, example_inputs(model.config, batch=1))
    return int(counter.get_total_flops()) // 2
