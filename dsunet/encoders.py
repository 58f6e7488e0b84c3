"""The two frozen encoders: SAM2's Hiera with adapters before its blocks, and DINOv2's ViT."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import Tensor, nn

from dsunet.config import DinoConfig, HieraConfig
from dsunet.errors import MissingExtraError

if TYPE_CHECKING:
    from types import ModuleType

INSTALL_TORCH_EXTRA = "install it with: pip install 'dsunet[torch]'"


class Adapter(nn.Module):
    """The paper's adapter: a residual two-layer bottleneck, GELU after each layer."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.down = nn.Linear(channels, hidden)
        self.up = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """...×C to ...×C."""
        return x + F.gelu(self.up(F.gelu(self.down(x))))


class HieraEncoder(nn.Module):
    """SAM2's Hiera with an adapter before every block."""

    def __init__(self, trunk: nn.Module, adapters: nn.ModuleList) -> None:
        super().__init__()
        self.trunk: Any = trunk
        self.adapters = adapters

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """N×3×S×S, normalised, to four maps N×C×H×W with strides 4, 8, 16, 32."""
        x = self.trunk.patch_embed(image)
        x = x + self.position_embedding()
        maps = []
        for index, (adapter, block) in enumerate(
            zip(self.adapters, self.trunk.blocks, strict=True)
        ):
            x = block(adapter(x))
            if index in self.trunk.stage_ends:
                maps.append(x.permute(0, 3, 1, 2))
        return tuple(maps)
