"""Options that make the network use both encoders: head on DINOv2's map, blends, mismatches."""

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
from dsunet.data.samples import Sample, SampleKey
from dsunet.errors import TrainingError
from dsunet.evaluation.reliance import Encoder, Replacement
from dsunet.network.config import Injection
from dsunet.training import resume, train
from dsunet.training.loss import stage_losses
from dsunet.training.options import TrainingOptions
from dsunet.training.step import Stepper
from dsunet.training.training_network import MISMATCHES, TrainingNetwork
from tests.training.conftest import SMALL, small_run
from tests.training.interruptions import after_three_steps, in_a_process
from tests.training.test_resume import outcome

BOTH = {"train_encoders": True, "dino_loss": 0.5, "blend_hiera": 0.4, "mismatch": 0.3}


def network(config: DSUNetConfig = SMALL, **changes: Any) -> TrainingNetwork:
    model = random_model(config).eval()
    return TrainingNetwork(model, small_run(Path("d"), Path("o"), **changes)).eval()


def batch(count: int = 3) -> Sample:
    torch.manual_seed(1)
    return {"hiera": torch.rand(count, 3, 128, 128), "dino": torch.rand(count, 3, 98, 98)}


def test_without_options_it_is_the_network() -> None:
    """Up to rounding: it runs in channels-last order, in which convolutions sum differently."""
    plain, images = network(), batch()
    expected = plain.model(images["hiera"], images["dino"])
    for logits, same in zip(plain(images).logits, expected, strict=True):
        torch.testing.assert_close(logits, same, rtol=0, atol=1e-3 * float(same.detach().std()))


def test_only_hiera_gets_the_blend() -> None:
    """Chosen images are blended with the previous one of the batch.

    1e-5 of the logits' deviation is rounding: convolutions sum in another order for other values.
    """
    blending, images = network(blend_hiera=0.5), batch()
    hiera, dino = images["hiera"], images["dino"]
    logits = blending(images, torch.tensor([False, True, False])).logits[-1]
    mixed = hiera.clone()
    mixed[1] = (hiera[0] + hiera[1]) / 2
    expected = blending.model(mixed, dino)[-1]
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-3 * float(expected.detach().std()))
    apart = (logits - blending.model(hiera, dino)[-1]).abs().amax((1, 2, 3)) / expected.std()
    assert max(apart[0], apart[2]) < 1e-3 < 0.05 < apart[1]


@pytest.mark.parametrize("encoder", Encoder)
@pytest.mark.parametrize("replacement", Replacement)
def test_a_mismatch_replaces_maps_of_one_encoder(
    encoder: Encoder, replacement: Replacement
) -> None:
    """The maps of the chosen sample are replaced by zeros or by those of the previous image."""
    trained, images = network(mismatch=0.5), batch()
    number = 1 + MISMATCHES.index((encoder, replacement))
    logits = trained(images, None, torch.tensor([0, number, 0])).logits[-1]

    model = trained.model
    maps = {
        Encoder.HIERA: [one.clone() for one in model.hiera(images["hiera"])],
        Encoder.DINO: [one.clone() for one in model.dino_maps(images["dino"])],
    }
    own = logits - model(images["hiera"], images["dino"])[-1]
    for one in maps[encoder][-1 if encoder is Encoder.HIERA else 0 :]:
        one[1] = 0 if replacement is Replacement.ZEROS else one[0].clone()
    expected = model.decode(model.fuse(*map(tuple, maps.values())), (128, 128))[-1]
    # Rounding: convolutions sum in another order for other values.
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-3 * float(expected.detach().std()))
    apart = own.abs().amax((1, 2, 3)) / expected.std()
    assert max(apart[0], apart[2]) < 1e-3 < 0.01 < apart[1]


def test_an_image_alone_is_mismatched_with_zeros() -> None:
    trained, images = network(mismatch=0.5), batch(1)
    zeros, other = (
        1 + MISMATCHES.index((Encoder.DINO, replacement))
        for replacement in (Replacement.ZEROS, Replacement.OTHER_IMAGE)
    )
    logits = [trained(images, None, torch.tensor([number])).logits[-1] for number in (zeros, other)]
    assert torch.equal(*logits)


def test_the_target_of_a_mismatch_is_empty() -> None:
    """Only the decoder has an empty target; the head on DINOv2's map has the mask."""
    options = small_run(Path("d"), Path("o"), mismatch=1.0, blend_hiera=1.0, dino_loss=1.0)
    trained = network(mismatch=1.0, blend_hiera=1.0, dino_loss=1.0)
    stepper = Stepper(Fabric(accelerator="cpu", devices=1), options, trained)
    keys, images = [SampleKey(0, number) for number in range(4)], batch(4)
    images["mask"] = (torch.rand(4, 1, 128, 128) > 0.5).float()
    found = stepper._losses(images, keys)

    logits = trained(images, None, stepper._mismatched(keys)).logits  # not blended: one of the two
    empty = stage_losses(logits[:-1], torch.zeros_like(images["mask"]))
    torch.testing.assert_close(found[:-1], empty)
    torch.testing.assert_close(found[-1:], stage_losses(logits[-1:], images["mask"]))


def test_mismatches_are_as_frequent_as_asked() -> None:
    """All kinds alike; 2,000 draws: within four standard deviations."""
    options, trained = small_run(Path("d"), Path("o"), mismatch=0.4), network(mismatch=0.4)
    stepper = Stepper(Fabric(accelerator="cpu", devices=1), options, trained)
    keys = [SampleKey(epoch, number) for epoch in range(4) for number in range(500)]
    drawn = stepper._mismatched(keys)
    assert drawn is not None
    frequencies = torch.bincount(drawn, minlength=5) / len(keys)
    assert frequencies.tolist() == pytest.approx([0.6, 0.1, 0.1, 0.1, 0.1], abs=0.044)
    again = stepper._mismatched(keys[::-1])
    assert again is not None
    assert torch.equal(again.flip(0), drawn)  # of the sample, not of its place


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_images_are_blended_as_often_as_asked(probability: float) -> None:
    """Independently per image; 400 draws: within 0.07, three standard deviations."""
    stepper = Stepper(
        Fabric(accelerator="cpu", devices=1),
        small_run(Path("d"), Path("o"), blend_hiera=probability),
        network(blend_hiera=probability),
    )
    keys = [SampleKey(epoch, number) for epoch in range(4) for number in range(100)]
    blended = stepper._blended(keys)
    if not probability:
        assert blended is None
        return
    assert blended is not None
    assert float(blended.float().mean()) == pytest.approx(probability, abs=0.07)
    again = stepper._blended(keys[::-1])
    assert again is not None
    assert torch.equal(again.flip(0), blended)  # of the sample, not of its place


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
    """Head, its optimizer state, blended images and mismatches included."""

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


@pytest.mark.parametrize("changes", [{"blend_hiera": 0.5}, {"dino_loss": 1.0}, {"mismatch": 0.1}])
def test_a_network_without_dinov2_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(
        TrainingError, match=r"no DINOv2 encoder.*omit --dino-loss, --blend-hiera and"
    ):
        network(SMALL.replace(injection=Injection.NONE), train_encoders=True, **changes)
