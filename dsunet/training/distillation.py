"""The losses of distillation: how far a student's logits and fused maps are from its teacher's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor

from dsunet.data.samples import Sample
from dsunet.network.model import DSUNet
from dsunet.training.options import TrainingOptions
from dsunet.training.training_network import Outputs

_PREFIX = "teacher_"
"""Prefix of the names of the teacher's inputs in a batch."""

TEMPERATURE = 2.0
"""Divisor of both logits.  With 1, pixels of a confident teacher would hardly contribute."""

_SMALLEST = 1e-6  # variance of a channel of the teacher that counts as constant


class DistillationLoss:
    """The losses of a student's outputs from those of a frozen teacher.

    Args:
        fabric: Gives the device and the precision.
        model: The teacher; it is put into evaluation mode and frozen.
        options: The options of the run.
    """

    def __init__(self, fabric: Fabric, model: DSUNet, options: TrainingOptions) -> None:
        self._fabric = fabric
        self._model = model.eval().requires_grad_(False).to(fabric.device)
        self._model.to(memory_format=torch.channels_last)
        self._weights = options.deep_supervision

    @property
    def sides(self) -> dict[str, int]:
        """Sides of the teacher's inputs in pixels, by their names in a batch."""
        return {_PREFIX + name: side for name, side in self._model.config.input_sizes.items()}

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the teacher's fused maps, finest first."""
        return self._model.config.hiera.channels

    def __call__(self, outputs: Outputs, batch: Sample) -> Tensor:
        """Compute the losses `logits` and `maps`, a tensor of two values.

        `batch` has the teacher's inputs, of the same images as those of the outputs.
        """
        logits, maps = self._outputs(batch)
        stage_losses = [
            weight * logit_loss(own, theirs)
            for weight, own, theirs in zip(self._weights, outputs.logits, logits, strict=False)
        ]
        map_losses = [map_loss(own, theirs) for own, theirs in zip(outputs.maps, maps, strict=True)]
        return torch.stack((torch.stack(stage_losses).sum(), torch.stack(map_losses).mean()))

    def _outputs(self, batch: Sample) -> tuple[list[Tensor], list[Tensor]]:
        """Compute the teacher's logits of the three stages and its four fused maps, float32."""
        images = batch[_PREFIX + "hiera"].contiguous(memory_format=torch.channels_last)
        with torch.no_grad(), self._fabric.autocast():
            maps = self._model.fuse(
                self._model.hiera(images), self._model.dino_maps(batch.get(_PREFIX + "dino"))
            )
            logits = self._model.decode(maps, images.shape[2:])
        return [one.float() for one in logits], [one.float() for one in maps]


def logit_loss(logits: Tensor, teacher: Tensor) -> Tensor:
    """Compute the mean Kullback-Leibler divergence of a student's pixels from a teacher's.

    Both are logits N×1×S×S, of any two sizes; the teacher's are resampled.  The divergence is that
    of the logits divided by `TEMPERATURE`, times its square (Hinton et al., 2015); 0 if they are
    equal.
    """
    soft = _resampled(teacher, logits) / TEMPERATURE
    target = soft.sigmoid()
    own = logits / TEMPERATURE
    cross, least = (F.binary_cross_entropy_with_logits(one, target) for one in (own, soft))
    return (cross - least) * TEMPERATURE**2


def map_loss(projected: Tensor, teacher: Tensor) -> Tensor:
    """Compute the mean squared difference of a map from a teacher's with standardised channels.

    Maps are N×C×H×W with equal C; the teacher's is resampled.  The loss is 0 if they are equal, and
    1 for zeros: the fraction of the teacher's variance that the student does not explain.  The
    mean and variance of a channel are those of the batch, so that no channel outweighs the others.
    """
    resampled = _resampled(teacher, projected)
    variance, mean = torch.var_mean(resampled, (0, 2, 3), correction=0, keepdim=True)
    return F.mse_loss(projected, (resampled - mean) / (variance + _SMALLEST).sqrt())


def _resampled(teacher: Tensor, student: Tensor) -> Tensor:
    """Resample the teacher's map or logits to the height and width of the student's."""
    size = student.shape[2:]
    if teacher.shape[2:] == size:
        return teacher
    return F.interpolate(teacher, size, mode="bilinear", antialias=True)
