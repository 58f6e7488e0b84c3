"""Readers of checkpoints and of the encoders' official files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import Tensor, nn

import dsunet.checkpoints.open_checkpoint
import dsunet.checkpoints.pretrained
from dsunet import load_model, random_model, save_model
from dsunet.checkpoints.pretrained import load_encoders
from dsunet.checkpoints.public_layouts import DSU_NET
from dsunet.checkpoints.weight_files import read_weights
from dsunet.errors import DSUNetError
from tests.fuzz.harness import Sample, Target
from tests.fuzz.mutation import (
    Change,
    change_pickle,
    change_safetensors,
    change_torch_zip,
    forged,
)
from tests.fuzz.mutation.torch_files import saved
from tests.training.conftest import SMALL

_ERRORS = (DSUNetError,)
_PRESETS = {"small test": {name: getattr(SMALL, name) for name in SMALL.__slots__}}


def weights(folder: Path, patch: pytest.MonkeyPatch) -> Target:
    """`read_weights` of a few tensors, in all the formats; a case takes milliseconds."""
    generator = torch.Generator().manual_seed(0)
    linear = {"weight": torch.randn(4, 3, generator=generator), "bias": torch.zeros(4).half()}
    nested = {"state_dict": {f"module.{key}": value for key, value in linear.items()}, "epoch": 3}
    unlike = {"a.weight": linear["weight"].T, "b": torch.arange(5), "c": torch.ones(())}
    samples = [
        _sample("a.safetensors", save(linear, {"format": "pt"}), change_safetensors),
        *(_sample("a.pth", saved(value), change_torch_zip) for value in (linear, nested, unlike)),
        *(_sample("a.pth", saved(v, zipped=False), change_pickle) for v in (linear, nested)),
    ]
    return Target("weights", lambda path: _values(read_weights(path).groups), samples, _ERRORS)


def _values(groups: Mapping[str, Mapping[str, Tensor]]) -> Any:
    return {
        (place, key): (tensor.dtype, tensor.shape, tensor.to(torch.float64).tolist())
        for place, tensors in groups.items()
        for key, tensor in tensors.items()
    }


def checkpoint(folder: Path, patch: pytest.MonkeyPatch) -> Target:
    """`load_model` of our own format and the public one, in all the ways that they are saved."""
    _only_small(patch)
    model = random_model(SMALL, seed=1)
    folder.mkdir()
    save_model(model, folder / "own.safetensors")
    own = (folder / "own.safetensors").read_bytes()
    public = {DSU_NET.key(key): value for key, value in model.state_dict().items()}
    nested = {"model": {f"module.{key}": value for key, value in public.items()}, "epoch": 3}
    samples = [
        _sample("a.safetensors", own, change_safetensors, is_protected=True),
        _sample("a.safetensors", own, forged(change_safetensors)),
        _sample("a.pth", saved(public), change_torch_zip),
        _sample("a.pth", saved(nested), change_torch_zip),
        _sample("a.pth", saved(public, zipped=False), change_pickle),
    ]
    return Target("checkpoint", lambda path: digest_of(load_model(path)), samples, _ERRORS)


def encoders(folder: Path, patch: pytest.MonkeyPatch) -> Target:
    """`load_encoders` of SAM2's and DINOv2's files."""
    _only_small(patch)
    model = random_model(SMALL, seed=1)
    assert model.dino is not None
    trunk = {f"image_encoder.trunk.{k}": v for k, v in model.hiera.trunk.state_dict().items()}
    files = {
        "sam2.pt": saved({"model": trunk}),
        "dinov2.pth": saved(dict(model.dino.vit.state_dict())),
    }
    target = random_model(SMALL, seed=2)

    def read(sam2: Path) -> str:
        load_encoders(target, sam2=sam2, dinov2=sam2.with_name("dinov2.pth"))
        return digest_of(target)

    sample = Sample("sam2.pt", files, dict.fromkeys(files, change_torch_zip))
    return Target("encoders", read, [sample], _ERRORS)


def digest_of(model: nn.Module) -> str:
    """Digest of all tensors of a model's state."""
    digest = hashlib.sha256()
    for key, tensor in model.state_dict().items():
        digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _only_small(patch: pytest.MonkeyPatch) -> None:
    """Replace the presets by one small network, with which files are compared."""
    for module in (
        dsunet.checkpoints.open_checkpoint,
        dsunet.checkpoints.pretrained,
        dsunet.network.config,
    ):
        patch.setattr(module, "PRESETS", _PRESETS)


def _sample(name: str, content: bytes, change: Change, *, is_protected: bool = False) -> Sample:
    return Sample(name, {name: content}, {name: change}, is_protected)
