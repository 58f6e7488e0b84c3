"""A folder as a user has it: the clone's `assets`, and weight files of `nano` under their names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dsunet import DSUNetConfig, Injection, random_model
from dsunet.checkpoints.public_layouts import DSU_NET
from dsunet.network.config import Decoder
from tests.model.weights import sam2_unet_state
from tests.once_per_structure import once_per_structure
from tests.pages.commands import ROOT

__all__ = ["once_per_structure"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    state = random_model(DSUNetConfig.preset("nano")).state_dict()
    public = {DSU_NET.key(key): tensor for key, tensor in state.items()}
    torch.save(public, tmp_path / "model.pth")
    config = DSUNetConfig.preset("nano").replace(injection=Injection.NONE, decoder=Decoder.UNET)
    torch.save(sam2_unet_state(random_model(config)), tmp_path / "sam2-unet.pth")
    trunk = {k: v for k, v in state.items() if k.startswith("hiera.trunk.")}
    sam2 = {k.replace("hiera.trunk.", "image_encoder.trunk."): v for k, v in trunk.items()}
    torch.save({"model": sam2}, tmp_path / "sam2.1_hiera_large.pt")
    vit = {k.removeprefix("dino.vit."): v for k, v in state.items() if k.startswith("dino.vit.")}
    vit["mask_token"] = torch.zeros(1, vit["cls_token"].shape[-1])
    torch.save(vit, tmp_path / "dinov2_vitl14_pretrain.pth")
    return tmp_path
