"""Two processes on the CPU, which communicate as two GPUs would."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from dsunet import random_model, save_model, training
from dsunet.errors import TrainingError
from dsunet.torch_device import TorchDevice
from dsunet.training import run
from dsunet.training.initial_model import initial_model
from dsunet.training.options import Distillation, TrainingOptions
from dsunet.training.step import Stepper
from dsunet.training.training_data import find_training_data
from dsunet.training.training_network import TrainingNetwork
from tests.training.conftest import SMALL, small_run, write_dataset

SHARES = {1: [[0, 1, 2, 3]], 2: [[0, 2], [1, 3]]}
"""The images of each process, of four."""


@pytest.fixture(scope="module")
def four_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "discs", 4, seed=5)


def one_step(fabric: Fabric, options: TrainingOptions) -> None:
    """Take a step, check that all processes have the same weights, and write those.

    Batch norm only applies what it learned: each process would see its own images.
    """
    from dsunet.data.samples import SampleKey, Samples

    torch.set_num_threads(1)
    model = initial_model(options)
    stepper = Stepper(fabric, options, TrainingNetwork(model, options))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    keys = [SampleKey(0, number) for number in SHARES[fabric.world_size][fabric.global_rank]]
    samples = Samples(find_training_data(options).pairs, model.config.input_sizes, seed=0)
    stepper.step(iter(torch.utils.data.DataLoader(samples, batch_sampler=[keys])), [keys], 1e-3)
    weights = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    if not torch.equal(fabric.broadcast(weights), weights):
        raise ValueError("the processes have different weights")
    if fabric.is_global_zero:
        np.save(options.output, weights.numpy())


def test_two_processes_take_the_step_of_one(four_images: Path, tmp_path: Path) -> None:
    weights = []
    for devices in (1, 2):
        out = tmp_path / f"{devices}.npy"
        options = small_run(four_images, out, devices=devices, device=TorchDevice.CPU)
        launch: Any = run.make_fabric(options).launch
        launch(functools.partial(one_step, options=options))
        weights.append(np.load(out))

    # AdamW's first step is as long for a small gradient as for a large one, so rounding turns
    # round the few whose gradient is almost nothing.
    assert np.isclose(*weights, rtol=0, atol=1e-5).mean() > 0.98


def test_a_run_with_two_processes(
    four_images: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    training.train(
        small_run(four_images, out, devices=2, device=TorchDevice.CPU, val_dataset=four_images)
    )
    assert capfd.readouterr().err.count("epoch 2/2") == 1
    assert len((out / "log.csv").read_text().splitlines()) == 3
    assert (out / "best.safetensors").exists()


def test_a_distillation_with_two_processes(four_images: Path, tmp_path: Path) -> None:
    """A process may have images without masks only: they do not train the head on DINOv2's map."""
    save_model(random_model(SMALL), tmp_path / "teacher.safetensors")
    taught = Distillation(
        teacher=tmp_path / "teacher.safetensors", unlabelled=(four_images / "Image",)
    )
    options = small_run(
        four_images, tmp_path / "run", devices=2, device=TorchDevice.CPU, batch=2, epochs=1,
        dino_loss=1.0, distillation=taught,
    )  # fmt: skip
    training.train(options)
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()


def test_an_error_in_a_process_is_one_line(four_images: Path, tmp_path: Path) -> None:
    options = small_run(
        four_images, tmp_path / "run", devices=2, device=TorchDevice.CPU, train_encoders=False
    )
    with pytest.raises(TrainingError, match=r"^frozen encoders need weights") as fault:
        training.train(options)
    assert "\n" not in str(fault.value)
    assert not (tmp_path / "run").exists()


def test_more_gpus_than_there_are(
    four_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    options = small_run(
        four_images, tmp_path / "run", devices=1000, batch=1000, device=TorchDevice.CUDA
    )
    with pytest.raises(TrainingError, match="--devices is 1000, but PyTorch finds"):
        training.train(options)
