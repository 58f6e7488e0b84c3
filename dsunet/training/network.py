"""The network as a training step runs it, with what makes it use both encoders."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsunet.data.samples import Sample
from dsunet.errors import TrainingError
from dsunet.model import DSUNet
from dsunet.training.options import TrainingOptions


class TrainedNetwork(nn.Module):
    """A DSU-Net with an optional head on DINOv2's map, and with blended images for Hiera.

    Raises TrainingError if the options need DINOv2 and the network has none.
    """

    def __init__(self, model: DSUNet, options: TrainingOptions) -> None:
        super().__init__()
        if not model.inject and (options.dino_loss or options.blend_hiera):
            raise TrainingError(
                "the network has no DINOv2 encoder (injection none): leave --dino-loss and "
                "--blend-hiera out"
            )
        self.model = model
        self.dino_head: nn.Module | None = None
        if options.dino_loss:
            self.dino_head = nn.Conv2d(model.config.dino.embed_dim, 1, 1)

    def forward(self, batch: Sample, blended: Tensor | None = None) -> tuple[Tensor, ...]:
        """Compute the logits N×1×S×S of the three decoder stages, and of the head if there is one.

        The batch has the images, or the images for Hiera and cached DINOv2 maps.  Of the images
        where `blended` (N, bool) is true, Hiera gets the mean with the image before in the batch.
        """
        images = batch["hiera"]
        if blended is not None:
            mixed = (images + images.roll(1, dims=0)) / 2
            images = torch.where(blended[:, None, None, None], mixed, images)
        images = _channels_last(images)
        dino_maps = self._dino_maps(batch)
        maps = self.model.hiera(images)
        size = images.shape[2:]
        logits: tuple[Tensor, ...] = self.model.decode(self.model.fuse(maps, dino_maps), size)
        if self.dino_head is not None:
            extra = F.interpolate(self.dino_head(dino_maps[-1]), size, mode="bilinear")
            logits = (*logits, extra)
        return logits

    def _dino_maps(self, batch: Sample) -> tuple[Tensor, ...]:
        if "map0" in batch:
            names = sorted(name for name in batch if name.startswith("map"))
            return tuple(_channels_last(batch[name].float()) for name in names)
        return self.model.dino_maps(batch.get("dino"))


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)
