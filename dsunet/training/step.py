"""One optimizer step, with gradient accumulation and on one or more devices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from dsunet.data.samples import Sample, SampleKey, random_blend, random_mismatch
from dsunet.training.distillation import DistillationLoss
from dsunet.training.loss import stage_losses
from dsunet.training.options import TrainingOptions
from dsunet.training.training_network import MISMATCHES, TrainingNetwork


class Stepper:
    """The network and its optimizer, set up for the devices and the precision of `fabric`."""

    def __init__(
        self,
        fabric: Fabric,
        options: TrainingOptions,
        network: TrainingNetwork,
        distillation_loss: DistillationLoss | None = None,
    ) -> None:
        self._fabric = fabric
        self._options = options
        self._distillation_loss = distillation_loss
        if fabric.world_size > 1 and fabric.device.type == "cuda":
            # Batch statistics over all devices, as on one; PyTorch supports this on CUDA only.
            nn.SyncBatchNorm.convert_sync_batchnorm(network)
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=options.lr, weight_decay=options.weight_decay)
        self._forward, self._optimizer = fabric.setup(network, optimizer)
        weights = [*options.loss_weights.values()]
        self._weights = torch.tensor(weights, device=fabric.device)

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The AdamW optimizer of the trained parameters."""
        optimizer: torch.optim.Optimizer = self._optimizer.optimizer
        return optimizer

    def step(self, parts: Iterator[Sample], keys: list[list[SampleKey]], rate: float) -> Tensor:
        """Run one optimizer step on the parts of a batch.

        `keys` are the samples of each part, `rate` is the learning rate.  Returns the loss of
        each output, in the order of `TrainingOptions.loss_weights`.
        """
        total = sum(map(len, keys))
        losses = torch.zeros_like(self._weights)
        for number, part in enumerate(keys, 1):
            batch = self._fabric.to_device(next(parts))
            with self._fabric.no_backward_sync(self._forward, enabled=number < len(keys)):
                stages = self._losses(batch, part)
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

    def _losses(self, batch: Sample, part: list[SampleKey]) -> Tensor:
        """Compute the losses, in the order of `TrainingOptions.loss_weights`."""
        blended, mismatched = self._blended(part), self._mismatched(part)
        mask = target = batch["mask"]
        if mismatched is not None:
            matched = mismatched == 0
            target = mask * matched[:, None, None, None]
            blended = None if blended is None else blended & matched
        outputs = self._forward(batch, blended, mismatched)
        stages = len(self._options.deep_supervision)
        losses = [self._mask_losses(outputs.logits[:stages], target, batch)]
        if len(outputs.logits) > stages:
            losses.append(self._mask_losses(outputs.logits[stages:], mask, batch))
        if self._distillation_loss is not None:
            losses.append(self._distillation_loss(outputs, batch))
        return torch.cat(losses)

    def _mask_losses(self, logits: Sequence[Tensor], mask: Tensor, batch: Sample) -> Tensor:
        """The mean loss of each output over the batch; images without a mask contribute 0."""
        labelled = batch.get("labelled")
        if labelled is not None:
            logits, mask = [one[labelled] for one in logits], mask[labelled]
            if not len(mask):  # zeros with a gradient for all outputs, as DDP requires
                return torch.stack([one.sum() for one in logits])
        losses = stage_losses(logits, mask, weighted_bce=self._options.weighted_bce)
        return losses if labelled is None else losses * labelled.float().mean()

    def _blended(self, part: list[SampleKey]) -> Tensor | None:
        """Draw which images are blended, N bools; None if blending is off.

        The draw depends on the sample only, so that a resumed run blends the same images.
        """
        options = self._options
        if not options.blend_hiera:
            return None
        drawn = [random_blend(options.seed, key, options.blend_hiera) for key in part]
        return torch.tensor(drawn, device=self._fabric.device)

    def _mismatched(self, part: list[SampleKey]) -> Tensor | None:
        """Draw the mismatch of each sample, N integers as in `MISMATCHES`; None if they are off."""
        options = self._options
        if not options.mismatch:
            return None
        kinds = len(MISMATCHES)
        drawn = [random_mismatch(options.seed, key, options.mismatch, kinds) for key in part]
        return torch.tensor(drawn, device=self._fabric.device)
