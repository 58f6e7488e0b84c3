"""One optimizer step, with gradient accumulation and on one or more devices."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from dsunet.data.samples import Key, Sample
from dsunet.model import DSUNet, SegmentationLogits
from dsunet.training.loss import stage_losses
from dsunet.training.options import TrainingOptions


class Stepper:
    """The model and its optimizer, set up for the devices and the precision of `fabric`."""

    def __init__(self, fabric: Fabric, options: TrainingOptions, model: DSUNet) -> None:
        self._fabric = fabric
        self._options = options
        if fabric.world_size > 1 and fabric.device.type == "cuda":
            # Batch statistics over all devices, as on one; PyTorch supports this on CUDA only.
            nn.SyncBatchNorm.convert_sync_batchnorm(model)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=options.lr, weight_decay=options.weight_decay)
        self._forward, self._optimizer = fabric.setup(model, optimizer)
        self._forward.mark_forward_method("forward_from_maps")
        self._weights = torch.tensor(options.deep_supervision, device=fabric.device)

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The AdamW optimizer of the trained parameters."""
        optimizer: torch.optim.Optimizer = self._optimizer.optimizer
        return optimizer

    def step(self, parts: Iterator[Sample], keys: list[list[Key]], rate: float) -> Tensor:
        """Run one optimizer step on the parts of a batch.

        `keys` are the samples of each part, `rate` is the learning rate.  Returns the coarse,
        middle and fine loss, a tensor of 3.
        """
        total = sum(map(len, keys))
        losses = torch.zeros(3, device=self._fabric.device)
        for number, part in enumerate(keys, 1):
            batch = self._fabric.to_device(next(parts))
            with self._fabric.no_backward_sync(self._forward, enabled=number < len(keys)):
                stages = stage_losses(
                    self._logits(batch), batch["mask"], weighted_bce=self._options.weighted_bce
                )
                fraction = len(part) / total
                self._fabric.backward((stages * self._weights).sum() * fraction)
            losses += stages.detach() * fraction
        if self._options.clip is not None:
            self._fabric.clip_gradients(
                self._forward,
                self._optimizer,
                max_norm=self._options.clip,
                error_if_nonfinite=False,
            )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._optimizer.zero_grad()
        return losses

    def _logits(self, batch: Sample) -> SegmentationLogits:
        """Compute the logits from the images, or from the images and cached DINOv2 maps."""
        images = _channels_last(batch["hiera"])
        logits: SegmentationLogits
        if "map0" in batch:
            names = sorted(name for name in batch if name.startswith("map"))
            maps = [_channels_last(batch[name].float()) for name in names]
            logits = self._forward.forward_from_maps(images, maps)
        else:
            logits = self._forward(images, batch.get("dino"))
        return logits


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)
