"""Weight files in the formats that users have, made from a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dsunet import CheckpointError, DSUNet, DSUNetConfig, load_model
from dsunet.checkpoints.public_layouts import DSU_NET, SAM2_UNET

State = dict[str, Tensor]
NANO = DSUNetConfig.preset("nano")


def sam2_unet_state(model: DSUNet) -> State:
    """What SAM2-UNet's published code would save; its fourth stage is never computed."""
    state = {SAM2_UNET.key(key): tensor for key, tensor in model.state_dict().items()}
    unused = {key.replace("up3.", "up4."): v + 1 for key, v in state.items() if "up3." in key}
    assert unused
    return state | unused


def public_state(model: DSUNet) -> State:
    """The content of `torch.save(model.state_dict())` in the published code."""
    state = {DSU_NET.key(key): tensor for key, tensor in model.state_dict().items()}
    filters = model.get_buffer("inject.3.wavelet.depthwise.filters")
    state |= {key: filters.clone() for key in DSU_NET.haar_filters}
    return state | {DSU_NET.unused[0]: torch.zeros(1, model.config.dino.embed_dim)}


def under(prefix: str, state: State) -> State:
    """The same tensors, with a prefix before every key."""
    return {f"{prefix}{key}": value for key, value in state.items()}


def sam2_state(model: DSUNet) -> State:
    """The state dict of an official SAM2 file, with some keys that DSU-Net does not use."""
    trunk = model.hiera.trunk.state_dict()
    others = {"memory_encoder.x": torch.zeros(2), "image_encoder.neck.convs.0": torch.zeros(2)}
    return {f"image_encoder.trunk.{key}": value for key, value in trunk.items()} | others


def dinov2_state(model: DSUNet, grid: int | None = None) -> State:
    """The state dict of an official DINOv2 file."""
    assert model.dino is not None
    state: State = dict(model.dino.vit.state_dict())
    if grid is not None:
        state["pos_embed"] = torch.randn(1, grid * grid + 1, model.config.dino.embed_dim)
    return state | {"mask_token": torch.zeros(1, model.config.dino.embed_dim)}


def same(a: DSUNet, b: DSUNet, *, tolerance: float = 0) -> None:
    ours, theirs = a.state_dict(), b.state_dict()
    assert ours.keys() == theirs.keys()
    for key, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[key], atol=tolerance, rtol=tolerance)


def refusal(path: Path, **options: Any) -> str:
    """The message of the CheckpointError that loading raises: one line that names the file."""
    with pytest.raises(CheckpointError) as caught:
        load_model(path, **options)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 700
    assert str(path) in message
    return message
