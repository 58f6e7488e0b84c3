"""Hiera's position embedding as a constant.

SAM2 resamples a small background embedding (bicubic) and adds a tiled window embedding in every
call.  Both depend only on weights and on the input size, which is fixed.
"""

from __future__ import annotations

import torch

from dsunet.network.model import DSUNet


def fold_positions(model: DSUNet) -> None:
    """Replace the computation of the position embedding by its result."""
    trunk = model.hiera.trunk
    side = model.config.hiera.map_sizes[0]
    with torch.no_grad():
        trunk.register_buffer("position_table", trunk._get_pos_embed((side, side)).contiguous())
    trunk._get_pos_embed = lambda size: trunk.position_table
