"""The two frozen encoders: SAM2's Hiera with adapters before its blocks, and DINOv2's ViT."""

from __future__ import annotations

import functools
import importlib.util
import math
import sys
from types import ModuleType
from typing import Any

import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from dsunet.network.config import DinoConfig, HieraConfig
from dsunet_runtime.errors import MissingExtraError
from dsunet_runtime.extras import install_command


class Adapter(nn.Module):
    """The paper's adapter: a residual bottleneck of two linear layers, each followed by GELU."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.down = nn.Linear(channels, hidden)
        self.up = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map features ...×C to the same shape."""
        return x + F.gelu(self.up(F.gelu(self.down(x))))


class HieraEncoder(nn.Module):
    """SAM2's Hiera with an adapter before every block."""

    def __init__(self, trunk: nn.Module, adapters: nn.ModuleList) -> None:
        super().__init__()
        self.trunk: Any = trunk
        self.adapters = adapters

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Map a normalised image N×3×S×S to four maps N×C×H×W with strides 4, 8, 16 and 32."""
        x = self.trunk.patch_embed(image)
        x = x + self.trunk._get_pos_embed(x.shape[1:3])
        maps = []
        blocks = zip(self.adapters, self.trunk.blocks, strict=True)
        for index, (adapter, block) in enumerate(blocks):
            x = block(adapter(x))
            if index in self.trunk.stage_ends:
                maps.append(x.permute(0, 3, 1, 2))
        return tuple(maps)


class DinoEncoder(nn.Module):
    """DINOv2's ViT; returns the normalised patch tokens after `output_blocks` as feature maps."""

    def __init__(self, vit: VisionTransformer, output_blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.vit: Any = vit
        self.output_blocks = output_blocks

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Map a normalised image N×3×T×T to one map N×C×H×W for each of `output_blocks`."""
        x = self.vit._pos_embed(self.vit.patch_embed(image))
        maps = []
        for index, block in enumerate(self.vit.blocks):
            x = block(x)
            if index in self.output_blocks:
                patches = self.vit.norm(x)[:, self.vit.num_prefix_tokens :]
                side = math.isqrt(patches.shape[1])
                maps.append(patches.transpose(1, 2).unflatten(2, (side, side)))
        return tuple(maps)


def build_hiera_encoder(config: HieraConfig) -> HieraEncoder:
    """Build Hiera and its adapters, newly initialised."""
    trunk = _hiera_class()(
        embed_dim=config.embed_dim,
        num_heads=config.num_heads,
        stages=config.stages,
        global_att_blocks=config.global_attention_blocks,
        window_spec=config.window_sizes,
        window_pos_embed_bkg_spatial_size=config.background_size,
    )
    adapters = nn.ModuleList(Adapter(block.dim, config.adapter_dim) for block in trunk.blocks)
    return HieraEncoder(trunk, adapters)


def build_dino_encoder(config: DinoConfig, output_blocks: tuple[int, ...]) -> DinoEncoder:
    """Build DINOv2's ViT, newly initialised."""
    vit = VisionTransformer(
        img_size=config.image_size,
        patch_size=config.patch_size,
        embed_dim=config.embed_dim,
        depth=config.depth,
        num_heads=config.num_heads,
        init_values=1e-5,  # enables LayerScale; loaded weights replace the value
        num_classes=0,
        global_pool="",
    )
    return DinoEncoder(vit, output_blocks)


@functools.cache
def _hiera_class() -> Any:
    """Import SAM2's Hiera without running `sam2/__init__.py`, which initialises hydra globally.

    An empty package replaces `sam2` in `sys.modules` while the module loads.  Later imports of sam2
    get the real package.
    """
    if "sam2" in sys.modules:
        return _import_hiera()
    spec = importlib.util.find_spec("sam2")
    if spec is None or spec.submodule_search_locations is None:
        raise MissingExtraError(f"sam2 is not installed: {install_command('torch')}")
    stand_in = ModuleType("sam2")
    stand_in.__path__ = list(spec.submodule_search_locations)
    sys.modules["sam2"] = stand_in
    try:
        return _import_hiera()
    finally:
        for name in [n for n in sys.modules if n == "sam2" or n.startswith("sam2.")]:
            del sys.modules[name]


def _import_hiera() -> Any:
    from sam2.modeling.backbones.hieradet import Hiera

    return Hiera
