from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dsunet import DSUNetConfig, random_model
from dsunet.network.config import DinoConfig, HieraConfig
from dsunet.training.options import TrainingOptions
from dsunet.training.run_folder import RunConfig, RunData
from tests.threads import one_thread

__all__ = ["one_thread"]

SMALL = DSUNetConfig(
    hiera=HieraConfig(
        image_size=128,
        embed_dim=16,
        num_heads=1,
        stages=(1, 1, 2, 1),
        global_attention_blocks=(3,),
        window_sizes=(8, 4, 8, 4),
        adapter_dim=4,
    ),
    dino=DinoConfig(image_size=98, embed_dim=32, depth=4, num_heads=2),
    decoder_channels=16,
    attention_channels=8,
)
"""Smaller than `nano`: DINOv2's map is 7×7, Hiera's last 4×4, so that resampling matters."""


@dataclass(frozen=True)
class EncoderFiles:
    sam2: Path
    dinov2: str


def write_dataset(folder: Path, count: int, seed: int) -> Path:
    """Bright discs on dark noise, all of different sizes."""
    generator = np.random.default_rng(seed)
    for name in ("Image", "Mask"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        height, width = generator.integers(90, 160, 2)
        y, x = np.mgrid[:height, :width]
        centre = generator.uniform(0.3, 0.7, 2) * (height, width)
        inside = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < (0.25 * height) ** 2
        rgb = generator.integers(0, 80, (height, width, 3)) + 150 * inside[:, :, None]
        Image.fromarray(rgb.astype(np.uint8)).save(folder / "Image" / f"{number:03}.jpg")
        Image.fromarray(inside).save(folder / "Mask" / f"{number:03}.png")
    return folder


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven pairs of image and mask."""
    return write_dataset(tmp_path_factory.mktemp("data") / "discs", 7, seed=0)


@pytest.fixture(scope="session")
def encoder_files(tmp_path_factory: pytest.TempPathFactory) -> EncoderFiles:
    """Random encoders of SMALL in the official files' layouts."""
    folder = tmp_path_factory.mktemp("encoders")
    model = random_model(SMALL, seed=3)
    assert model.dino is not None
    torch.save(dict(model.hiera.trunk.state_dict()), folder / "sam2.pt")
    torch.save(dict(model.dino.vit.state_dict()), folder / "dinov2.pth")
    return EncoderFiles(folder / "sam2.pt", str(folder / "dinov2.pth"))


def run_config(options: TrainingOptions) -> RunConfig:
    """The config.json of a run of SMALL without weight files."""
    data = RunData(pairs=7, unlabelled=0, val_pairs=0, sha256="2" * 64)
    return RunConfig("3" * 32, options, SMALL, data, {}, None, None, {"torch": "2.8.0"})


def small_run(dataset: Path, out: Path, **changes: Any) -> TrainingOptions:
    """Two epochs of SMALL from scratch, without other processes."""
    given: dict[str, Any] = {
        "output": out,
        "datasets": (dataset,),
        "config": SMALL,
        "epochs": 2,
        "batch": 4,
        "train_encoders": True,
        "workers": 0,
        **changes,
    }
    return TrainingOptions(**given)
