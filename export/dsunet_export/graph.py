"""The modules that get exported: thin wrappers round DSUNet, one for each form of input."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsunet.config import DSUNetConfig
from dsunet.model import DSUNet
from dsunet_export.resample import resample
from dsunet_runtime.manifest import IMAGENET_MEAN, IMAGENET_STD, STRETCH_EPSILON, MaskForm


class TensorsGraph(nn.Module):
    """Normalised float images to logits."""

    def __init__(self, model: DSUNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, hiera: Tensor, dino: Tensor | None = None) -> Tensor:
        """N×3×S×S and N×3×T×T to N×1×S×S, the fine logits."""
        logits: Tensor = self.model(hiera, dino).fine
        return logits


class FramesGraph(nn.Module):
    """8-bit frames to 8-bit masks: all image arithmetic inside."""

    def __init__(self, model: DSUNet, mask_form: MaskForm) -> None:
        super().__init__()
        self.preprocess = Preprocess(list(model.config.input_sizes.values()))
        self.model = model
        self.postprocess = Postprocess(mask_form)

    def forward(self, image: Tensor) -> Tensor:
        """uint8 N×H×W×3 RGB to uint8 N×H×W."""
        logits = self.model(*self.preprocess(image)).fine
        mask: Tensor = self.postprocess(logits, (image.shape[1], image.shape[2]))
        return mask


class Preprocess(nn.Module):
    """8-bit frames to the encoders' inputs.  A module, so that its nodes have a name in common."""

    scale: Tensor
    offset: Tensor

    def __init__(self, sizes: list[int]) -> None:
        super().__init__()
        self.sizes = sizes
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
        self.register_buffer("scale", 1 / (255 * std), persistent=False)
        self.register_buffer("offset", -mean / std, persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """uint8 N×H×W×3 RGB to N×3×S×S, normalised, for each size S."""
        # The cast comes first: TensorRT-RTX takes 8-bit inputs into nothing else.
        pixels = image.float()
        return tuple(resample(pixels, side) * self.scale + self.offset for side in self.sizes)


class Postprocess(nn.Module):
    """Logits to 8-bit masks; a module for the same reason."""

    def __init__(self, mask_form: MaskForm) -> None:
        super().__init__()
        self.mask_form = mask_form

    def forward(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """N×1×h×w to uint8 N×H×W, `size` being (H, W)."""
        return to_mask(logits, size, self.mask_form)


def to_mask(logits: Tensor, size: tuple[int, int], form: MaskForm) -> Tensor:
    """Logits N×1×h×w to a mask of the image's size, uint8 N×H×W (paper, section IV.C)."""
    mask = F.interpolate(logits, size, mode="bilinear").squeeze(1).sigmoid()
    if form is MaskForm.PROBABILITY:
        return (mask * 255 + 0.5).floor().to(torch.uint8)
    low, high = mask.amin((1, 2), keepdim=True), mask.amax((1, 2), keepdim=True)
    stretched = (mask - low) / (high - low + STRETCH_EPSILON)
    return (stretched * 255).floor().to(torch.uint8)


def example_inputs(config: DSUNetConfig, batch: int) -> dict[str, Tensor]:
    """Zeros in the shapes that the network takes, by name, each N×3×S×S."""
    return {name: torch.zeros(batch, 3, side, side) for name, side in config.input_sizes.items()}
