"""Options that make the network use both encoders: a head on DINOv2's map, dropped Hiera maps."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from safetensors import safe_open

from dsunet import DSUNetConfig, random_model
from dsunet.config import Injection
from dsunet.data.samples import Key, Sample
from dsunet.errors import TrainingError
from dsunet.training import resume, train
from dsunet.training.network import TrainedNetwork
from dsunet.training.options import TrainingOptions
from dsunet.training.step import Stepper
from tests.training.conftest import SMALL, small_run
from tests.training.test_resume import after_three_steps, in_a_process, outcome

BOTH = {"train_encoders": True, "dino_loss": 0.5, "drop_hiera": 0.4}


def network(config: DSUNetConfig = SMALL, **changes: Any) -> TrainedNetwork:
    model = random_model(config).eval()
    return TrainedNetwork(model, small_run(Path("d"), Path("o"), **changes)).eval()


def batch(count: int = 3) -> Sample:
    torch.manual_seed(1)
    return {"hiera": torch.rand(count, 3, 128, 128), "dino": torch.rand(count, 3, 98, 98)}


def test_without_options_it_is_the_network() -> None:
    """Up to rounding: it runs in channels-last order, in which convolutions sum differently."""
    plain, images = network(), batch()
    expected = plain.model(images["hiera"], images["dino"])
    for logits, same in zip(plain(images), expected, strict=True):
        torch.testing.assert_close(logits, same, rtol=0, atol=1e-3 * float(same.detach().std()))


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_dropped_map_has_no_influence(level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the image where it is dropped, another map changes nothing; of the others, much.

    1e-5 of the logits' deviation is rounding: convolutions sum in another order for other values.
    """
    dropping, images = network(drop_hiera=0.5), batch()
    kept = torch.ones(3, 4)
    kept[1, level] = 0
    before = dropping(images, kept)[-1]
    maps = list(dropping.model.hiera(images["hiera"]))
    maps[level] = maps[level].flip(2) + 1
    monkeypatch.setattr(dropping.model.hiera, "forward", lambda _: tuple(maps))
    change = (dropping(images, kept)[-1] - before).abs().amax((1, 2, 3)) / before.std()
    assert change[1] < 1e-5
    assert min(change[0], change[2]) > 1e-3


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_maps_are_dropped_as_often_as_asked(
    monkeypatch: pytest.MonkeyPatch, probability: float
) -> None:
    """One, two or three maps, coarsest first, equally often; 400 draws per image.

    Within 0.07 of the probabilities, three standard deviations.
    """
    stepper = Stepper(
        Fabric(accelerator="cpu", devices=1),
        small_run(Path("d"), Path("o"), drop_hiera=probability),
        network(drop_hiera=probability),
    )
    keys = [Key(epoch, number) for epoch in range(4) for number in range(100)]
    kept = stepper._kept(keys)
    if not probability:
        assert kept is None
        return
    assert kept is not None
    expected = 1 - probability * torch.tensor([0, 1 / 3, 2 / 3, 1])
    torch.testing.assert_close(kept.mean(0), expected, rtol=0, atol=0.07)
    assert bool((kept[:, 1:] <= kept[:, :-1]).all())
    again = stepper._kept(keys[::-1])
    assert again is not None
    torch.testing.assert_close(again.flip(0), kept)  # of the sample, not of its place


def test_the_head_trains_dinov2(dataset: Path, tmp_path: Path) -> None:
    """With weight 0 for the decoder's outputs, only DINOv2 learns, and its loss falls."""
    options = small_run(
        dataset, tmp_path / "run", epochs=12, train_encoders=True, dino_loss=1.0,
        deep_supervision=(0, 0, 1e-9), lr=3e-3,
    )  # fmt: skip
    train(options)
    with (tmp_path / "run" / "log.csv").open() as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert rows[-1]["loss_dino"] < 0.8 * rows[0]["loss_dino"]
    for row in rows:
        assert row["loss"] == pytest.approx(row["loss_dino"] + 1e-9 * row["loss_fine"])


def test_the_loss_is_weighted_by_output() -> None:
    options = small_run(Path("d"), Path("o"), **BOTH)
    assert options.loss_weights == {"coarse": 0.25, "middle": 0.5, "fine": 1.0, "dino": 0.5}


def test_a_killed_run_goes_on_as_if_nothing_had_happened(dataset: Path, tmp_path: Path) -> None:
    """Head, its optimizer state and the dropped maps included."""

    def options(name: str) -> TrainingOptions:
        return small_run(
            dataset, tmp_path / name, val_dataset=dataset, val_count=2, save_every=0, **BOTH
        )

    def killed() -> None:
        after_three_steps()
        train(options("killed"))

    train(options("whole"))
    process = in_a_process(killed)
    process.join()
    resume(tmp_path / "killed")
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")


def test_checkpoints_are_those_of_the_network(dataset: Path, tmp_path: Path) -> None:
    for name, changes in (("plain", {"train_encoders": True}), ("both", BOTH)):
        train(small_run(dataset, tmp_path / name, epochs=1, **changes))
    keys = []
    for name in ("plain", "both"):
        with safe_open(tmp_path / name / "checkpoint.safetensors", "np") as file:
            keys.append({*file.keys()})
            assert all(np.isfinite(file.get_tensor(key)).all() for key in keys[-1])
    assert keys[0] == keys[1]


@pytest.mark.parametrize("changes", [{"drop_hiera": 0.5}, {"dino_loss": 1.0}])
def test_a_network_without_dinov2_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(TrainingError, match=r"no DINOv2 encoder.*leave --dino-loss and --drop"):
        network(SMALL.replace(injection=Injection.NONE), train_encoders=True, **changes)
