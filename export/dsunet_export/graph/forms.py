"""The modules that are exported: thin wrappers around DSUNet, one for each input form."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsunet.network.config import DSUNetConfig
from dsunet.network.model import DSUNet
from dsunet_export.graph.resample import resample
from dsunet_runtime.artifact.manifest import IMAGENET_MEAN, IMAGENET_STD, STRETCH_EPSILON, MaskForm


class TensorsGraph(nn.Module):
    """The `tensors` form: normalised float32 images to logits."""

    def __init__(self, model: DSUNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, hiera: Tensor, dino: Tensor | None = None) -> Tensor:
        """Compute the fine logits N×1×S×S of images N×3×S×S and N×3×T×T."""
        logits: Tensor = self.model(hiera, dino).fine
        return logits


class FramesGraph(nn.Module):
    """The `frames` form: 8-bit images to 8-bit masks, with pre- and postprocessing."""

    def __init__(self, model: DSUNet, mask_form: MaskForm) -> None:
        super().__init__()
        self.preprocess = Preprocess(list(model.config.input_sizes.values()))
        self.model = model
        self.postprocess = Postprocess(mask_form)

    def forward(self, image: Tensor) -> Tensor:
        """Compute masks, uint8 N×H×W, of images, uint8 N×H×W×3 RGB."""
        logits = self.model(*self.preprocess(image)).fine
        mask: Tensor = self.postprocess(logits, (image.shape[1], image.shape[2]))
        return mask


class Preprocess(nn.Module):
    """8-bit images to the encoders' inputs.  A module, so that its nodes share a name prefix."""

    scale: Tensor
    offset: Tensor

    def __init__(self, sizes: list[int]) -> None:
        super().__init__()
        self.sizes = sizes
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
        self.register_buffer("scale", 1 / (255 * std), persistent=False)
        self.register_buffer("offset", -mean / std, persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Resample and normalise uint8 N×H×W×3 RGB to N×3×S×S, for each size S."""
        # The cast comes first: TensorRT for RTX accepts 8-bit inputs only in a cast.
        pixels = image.float()
        return tuple(resample(pixels, side) * self.scale + self.offset for side in self.sizes)


class Postprocess(nn.Module):
    """Logits to 8-bit masks.  A module, so that its nodes share a name prefix."""

    def __init__(self, mask_form: MaskForm) -> None:
        super().__init__()
        self.mask_form = mask_form

    def forward(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Convert logits N×1×h×w to masks, uint8 N×H×W, for `size` (H, W)."""
        return to_mask(logits, size, self.mask_form)


def to_mask(logits: Tensor, size: tuple[int, int], form: MaskForm) -> Tensor:
    """Convert logits N×1×h×w to masks of the image's size, uint8 N×H×W (paper, section IV.C)."""
    mask = F.interpolate(logits, size, mode="bilinear").squeeze(1).sigmoid()
    if form is MaskForm.PROBABILITY:
        return (mask * 255 + 0.5).floor().to(torch.uint8)
    low, high = mask.amin((1, 2), keepdim=True), mask.amax((1, 2), keepdim=True)
    stretched = (mask - low) / (high - low + STRETCH_EPSILON)
    return (stretched * 255).floor().to(torch.uint8)


def example_inputs(config: DSUNetConfig, batch: int) -> dict[str, Tensor]:
    """Return zero-filled network inputs N×3×S×S by name."""
    return {name: torch.zeros(batch, 3, side, side) for name, side in config.input_sizes.items()}
