"""The network of a training step: a DSU-Net with the parts that only training has."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsunet.data.samples import Sample
from dsunet.errors import TrainingError
from dsunet.evaluation.reliance import Encoder, Replacement
from dsunet.network.model import DSUNet
from dsunet.training.options import TrainingOptions

MISMATCHES = tuple(itertools.product(Encoder, Replacement))
"""The kinds of mismatch between the encoders; a sample's number counts from 1."""


class Outputs(NamedTuple):
    """The outputs that the losses are computed from."""

    logits: tuple[Tensor, ...]
    """Logits N×1×S×S of the three decoder stages, and then of the head on DINOv2's map, if any."""
    maps: tuple[Tensor, ...] = ()
    """With a teacher, the four fused maps N×C×H×W, finest first, with its numbers of channels."""


class TrainingNetwork(nn.Module):
    """A DSU-Net with the parts that only training has.

    These are a head on DINOv2's map, blended images and mismatched encoders, and projections of the
    fused maps to the channels of a teacher's (`teacher_channels`, finest first).  Raises
    TrainingError if the options need DINOv2 and the network has none.
    """

    def __init__(
        self, model: DSUNet, options: TrainingOptions, teacher_channels: Sequence[int] = ()
    ) -> None:
        super().__init__()
        if not model.inject and (options.dino_loss or options.blend_hiera or options.mismatch):
            raise TrainingError(
                "the network has no DINOv2 encoder (injection none): omit --dino-loss, "
                "--blend-hiera and --mismatch"
            )
        self.model = model
        self.dino_head: nn.Module | None = None
        if options.dino_loss:
            self.dino_head = nn.Conv2d(model.config.dino.embed_dim, 1, 1)
        self.projections = nn.ModuleList(
            # Normalised, because single channels of Hiera's maps are orders of magnitude larger.
            nn.Sequential(nn.BatchNorm2d(own), nn.Conv2d(own, theirs, 1))
            for own, theirs in zip(model.config.hiera.channels, teacher_channels, strict=False)
        )

    def forward(
        self, batch: Sample, blended: Tensor | None = None, mismatched: Tensor | None = None
    ) -> Outputs:
        """Compute the outputs for the losses.

        The batch has the images for both encoders, or those for Hiera and cached maps of DINOv2.
        Where `blended` (N, bool) is true, Hiera's input is the mean of the image and the one before
        it in the batch.  Where `mismatched` (N, integers) is not 0, maps are replaced before the
        fusion, as `MISMATCHES` lists; the head on DINOv2's map is not affected.
        """
        images = batch["hiera"]
        if blended is not None:
            mixed = (images + images.roll(1, dims=0)) / 2
            images = torch.where(blended[:, None, None, None], mixed, images)
        images = _channels_last(images)
        dino_maps = self._dino_maps(batch)
        maps = self.model.hiera(images)
        size = images.shape[2:]
        fused = self.model.fuse(*_mismatched(maps, dino_maps, mismatched))
        logits: tuple[Tensor, ...] = self.model.decode(fused, size)
        if self.dino_head is not None:
            extra = F.interpolate(self.dino_head(dino_maps[-1]), size, mode="bilinear")
            logits = (*logits, extra)
        projected = [project(one) for project, one in zip(self.projections, fused, strict=False)]
        return Outputs(logits, tuple(projected))

    def extra_state(self) -> dict[str, Tensor]:
        """The state dict of the parts that checkpoints do not contain."""
        state = self.state_dict()
        return {key: tensor for key, tensor in state.items() if not key.startswith("model.")}

    def _dino_maps(self, batch: Sample) -> tuple[Tensor, ...]:
        if "map0" in batch:
            names = sorted(name for name in batch if name.startswith("map"))
            return tuple(_channels_last(batch[name].float()) for name in names)
        return self.model.dino_maps(batch.get("dino"))


def _mismatched(
    hiera: Sequence[Tensor], dino: tuple[Tensor, ...], mismatched: Tensor | None
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Replace Hiera's coarsest map or DINOv2's maps of the samples that `mismatched` names."""
    maps = {Encoder.HIERA: (hiera[-1],), Encoder.DINO: dino}
    if mismatched is not None:
        for number, (encoder, replacement) in enumerate(MISMATCHES, 1):
            chosen = (mismatched == number)[:, None, None, None]
            maps[encoder] = tuple(
                torch.where(chosen, _replaced(own, replacement), own) for own in maps[encoder]
            )
    return (*hiera[:-1], *maps[Encoder.HIERA]), maps[Encoder.DINO]


def _replaced(own: Tensor, replacement: Replacement) -> Tensor:
    """Zeros, or the map of the image before in the batch; a batch of one has no other image."""
    if replacement is Replacement.ZEROS or len(own) == 1:
        return torch.zeros_like(own)
    return own.roll(1, dims=0)


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)
