"""DSU-Net.  `DSUNet.forward` is the path of an image from pixels to logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from dsunet.network.config import DSUNetConfig, Injection
from dsunet.network.decoders import build_decoder
from dsunet.network.encoders import (
    DinoEncoder,
    HieraEncoder,
    build_dino_encoder,
    build_hiera_encoder,
)
from dsunet.network.fusion import CGA, RFB
from dsunet.network.wavelet import WaveletPath


class SegmentationLogits(NamedTuple):
    """Logits of the three decoder stages, each N×1×S×S with S the side of Hiera's input."""

    coarse: Tensor
    middle: Tensor
    fine: Tensor
    """The output that masks are computed from."""


class Inject(nn.Module):
    """Fuses a DINOv2 map into a Hiera map: the wavelet path, then content-guided attention."""

    def __init__(self, wavelet: WaveletPath, cga: CGA) -> None:
        super().__init__()
        self.wavelet = wavelet
        self.cga = cga

    def forward(self, hiera_map: Tensor, dino_map: Tensor) -> Tensor:
        """Fuse a Hiera map N×C×H×W and a DINOv2 map N×D×h×w into one N×C×H×W."""
        fused: Tensor = self.cga(hiera_map, self.wavelet(dino_map))
        return fused


class DSUNet(nn.Module):
    """Two frozen encoders combined in a U-Net (arXiv:2503.21187, section III).

    The configuration chooses the parts, so that this is also SAM2-UNet (arXiv:2408.08870).  Only
    what the papers train requires gradients: adapters, fusion modules and decoder.

    Example:
        >>> model = DSUNet(DSUNetConfig.preset("nano")).eval()
        >>> logits = model(torch.rand(1, 3, 160, 160), torch.rand(1, 3, 224, 224))
        >>> logits.fine.shape
        torch.Size([1, 1, 160, 160])
    """

    def __init__(self, config: DSUNetConfig) -> None:
        super().__init__()
        channels, sizes = config.hiera.channels, config.hiera.map_sizes
        width = config.decoder_channels
        levels = config.injection.hiera_levels

        self.config = config
        self.hiera: HieraEncoder = build_hiera_encoder(config.hiera)
        self.dino: DinoEncoder | None = None
        if levels:
            last = (config.dino.depth - 1,)
            by_levels = config.injection is Injection.LEVELS
            blocks = config.dino.quarter_blocks if by_levels else last
            self.dino = build_dino_encoder(config.dino, blocks)
        self.inject = nn.ModuleDict(
            {
                str(level): Inject(
                    WaveletPath(config.dino.embed_dim, channels[level], sizes[level]),
                    CGA(channels[level]),
                )
                for level in levels
            }
        )
        self.rfb = nn.ModuleList(RFB(c, width) for c in channels)
        # Its name is in the keys of its tensors, so that a file shows which decoder it has.
        self.add_module(config.decoder, build_decoder(config))
        self.heads = nn.ModuleList(nn.Conv2d(width, 1, 1) for _ in range(3))
        freeze_encoders(self)

    @property
    def decoder(self) -> nn.ModuleList:
        """The three stages of the decoder, coarsest first."""
        stages = self.get_submodule(self.config.decoder)
        assert isinstance(stages, nn.ModuleList)
        return stages

    def forward(self, hiera: Tensor, dino: Tensor | None = None) -> SegmentationLogits:
        """Compute the logits of a batch.

        Args:
            hiera: Images N×3×S×S, ImageNet-normalised, with S = `config.hiera.image_size`.
            dino: The same images N×3×T×T, with T = `config.dino.image_size`.  Not needed with
                injection none.

        Returns:
            Logits of the three decoder stages, N×1×S×S each.
        """
        maps = self.fuse(self.hiera(hiera), self.dino_maps(dino))
        return self.decode(maps, hiera.shape[2:])

    def dino_maps(self, dino: Tensor | None) -> tuple[Tensor, ...]:
        """Compute the DINOv2 maps N×D×h×w that the configuration injects: none, one or four."""
        if self.dino is None:
            return ()
        maps: tuple[Tensor, ...] = self.dino(dino)
        return maps

    def fuse(self, hiera_maps: Sequence[Tensor], dino_maps: Sequence[Tensor]) -> list[Tensor]:
        """Inject the DINOv2 maps into Hiera's four maps, finest first."""
        maps = list(hiera_maps)
        for level, inject in self.inject.items():
            # One DINOv2 map is used for every level, unless there is one per level (ablation B).
            dino_map = dino_maps[int(level)] if len(dino_maps) > 1 else dino_maps[0]
            maps[int(level)] = inject(maps[int(level)], dino_map)
        return maps

    def decode(self, maps: Sequence[Tensor], size: Sequence[int]) -> SegmentationLogits:
        """Compute the logits of the three stages from four fused maps, finest first.

        They are resized to `size`, the height and width of Hiera's input.
        """
        finest, fine, middle, coarse = (
            rfb(level_map) for rfb, level_map in zip(self.rfb, maps, strict=True)
        )
        first, second, third = self.decoder
        stage1 = first(coarse, middle)
        stage2 = second(stage1, fine)
        stage3 = third(stage2, finest)
        return SegmentationLogits(
            *(
                F.interpolate(head(stage), size, mode="bilinear")
                for head, stage in zip(self.heads, (stage1, stage2, stage3), strict=True)
            )
        )


def freeze_encoders(model: DSUNet) -> None:
    """Require gradients only for what the paper trains: adapters, fusion and decoder."""
    model.hiera.trunk.requires_grad_(False)
    if model.dino is not None:
        model.dino.requires_grad_(False)


def build_empty(config: DSUNetConfig) -> DSUNet:
    """Build a model on the meta device; load a state dict into it with `assign=True`.

    For `large`, this saves the 2 s and 2 GB of an initialisation that is replaced anyway.
    """
    with torch.device("meta"), _LinspaceOnCPU():
        return DSUNet(config)


class _LinspaceOnCPU(TorchFunctionMode):
    """Runs linspace on the CPU: Hiera reads drop-path rates from it, and meta tensors have none."""

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs["device"] = "cpu"
        return func(*args, **kwargs)
