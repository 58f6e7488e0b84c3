"""Feature maps of an image, and encoders without a DSU-Net checkpoint."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dsunet.checkpoints.pretrained import load_encoders
from dsunet.checkpoints.run_checkpoint import Notice
from dsunet.network.config import DSUNetConfig, Injection
from dsunet.network.encoders import DinoEncoder, HieraEncoder
from dsunet.network.model import DSUNet
from dsunet.network.random_weights import random_model
from dsunet_runtime.artifact.manifest import IMAGENET_MEAN, IMAGENET_STD
from dsunet_runtime.images.decode import encoder_input


class WeightSource(enum.Enum):
    """Where the weights of a model come from."""

    TRAINED = enum.auto()
    """All weights are trained."""
    ENCODERS = enum.auto()
    """The encoders have their official weights, as in the paper's figures."""
    RANDOM = enum.auto()
    """All weights are randomly initialised."""


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """The feature map of one encoder level."""

    name: str
    values: NDArray[np.float32]
    """The features, C×h×w."""

    @property
    def shape_in_words(self) -> str:
        """Channels × height × width."""
        return "×".join(map(str, self.values.shape))


def open_encoders(
    preset: str,
    *,
    sam2: Path | None = None,
    dinov2: str | None = None,
    notice: Notice | None = None,
) -> tuple[DSUNet, WeightSource]:
    """Load a preset's encoders from official files, or initialise them randomly without any.

    With official files, adapters are the identity.  With SAM2's file only, there is no DINOv2.
    Raises ConfigError for an unknown preset, and CheckpointError as `load_encoders` does.
    """
    config = DSUNetConfig.preset(preset)
    if sam2 is None and dinov2 is None:
        return random_model(config), WeightSource.RANDOM
    injection = Injection.NONE if dinov2 is None else Injection.LAST
    model = random_model(config.replace(injection=injection))
    load_encoders(model, sam2=sam2, dinov2=dinov2, notice=notice)
    _make_adapters_identities(model.hiera)
    return model, WeightSource.ENCODERS


def feature_maps(model: DSUNet, rgb: NDArray[np.uint8]) -> dict[str, list[FeatureMap]]:
    """Compute Hiera's four maps, finest first, and DINOv2's after each quarter of its blocks.

    DINOv2's maps are its normalised patch tokens, as the network uses them after the last block.

    Args:
        model: The model, on the CPU.
        rgb: Image H×W×3, uint8.

    Returns:
        The maps by encoder, `Hiera` and `DINOv2`; ablation A has no entry for DINOv2.
    """
    config = model.config
    with torch.inference_mode():
        hiera = model.hiera(_input(rgb, config.hiera.image_size))
        maps = {
            "Hiera": [
                FeatureMap(f"Hiera, level {level}", values[0].numpy())
                for level, values in enumerate(hiera, start=1)
            ]
        }
        if model.dino is not None:
            blocks = config.dino.quarter_blocks
            dino = DinoEncoder(model.dino.vit, blocks)(_input(rgb, config.dino.image_size))
            maps["DINOv2"] = [
                FeatureMap(f"DINOv2, block {block + 1}", values[0].numpy())
                for block, values in zip(blocks, dino, strict=True)
            ]
    return maps


def _input(rgb: NDArray[np.uint8], side: int) -> torch.Tensor:
    return torch.from_numpy(encoder_input(rgb, side, IMAGENET_MEAN, IMAGENET_STD))[None]


def _make_adapters_identities(hiera: HieraEncoder) -> None:
    """Set weights with which every adapter is the identity: GELU(0) is 0."""
    with torch.no_grad():
        for adapter in hiera.adapters:
            adapter.up.weight.zero_()  # type: ignore[union-attr, operator]
            adapter.up.bias.zero_()  # type: ignore[union-attr, operator]
