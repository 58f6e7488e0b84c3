"""A student is trained on its teacher's outputs, and on masks where the data has them."""

from __future__ import annotations

import csv
import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor
from typer.testing import CliRunner

import dsunet.training.step
from dsunet import DSUNetConfig, load_model, random_model, save_model
from dsunet.checkpoints.weight_files import checkpoint_sha256
from dsunet.cli import app
from dsunet.data.samples import Sample, SampleKey, Samples
from dsunet.errors import DataError, TrainingError
from dsunet.network.config import DinoConfig, HieraConfig, Injection
from dsunet.training import resume, train
from dsunet.training.distillation import TEMPERATURE, DistillationLoss, logit_loss, map_loss
from dsunet.training.options import Distillation, TrainingOptions
from dsunet.training.run_folder import RunFolder
from dsunet.training.step import Stepper
from dsunet.training.training_data import find_training_data
from dsunet.training.training_network import TrainingNetwork
from tests.training.conftest import SMALL, EncoderFiles, small_run
from tests.training.interruptions import after_three_steps, in_a_process
from tests.training.test_resume import outcome

BIG = DSUNetConfig(
    hiera=HieraConfig(
        image_size=160,
        embed_dim=24,
        num_heads=1,
        stages=(1, 1, 2, 1),
        global_attention_blocks=(3,),
        window_sizes=(8, 4, 8, 4),
        adapter_dim=4,
    ),
    dino=DinoConfig(image_size=112, embed_dim=48, depth=4, num_heads=2),
    injection=Injection.ALL,
    decoder_channels=24,
    attention_channels=8,
)
"""The teacher: of another width, input size and injection than SMALL."""


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    save_model(random_model(BIG, seed=5), path)
    return path


def taught_run(dataset: Path, out: Path, teacher: Path, **changes: Any) -> TrainingOptions:
    """Options of `small_run` with the teacher; `changes` may include options of distillation."""
    names = ("unlabelled", "logit_loss", "map_loss", "sam2", "dinov2")
    own = {name: changes.pop(name) for name in names if name in changes}
    return small_run(dataset, out, distillation=Distillation(teacher=teacher, **own), **changes)


def a_step(
    dataset: Path, teacher: Path, **changes: Any
) -> tuple[TrainingNetwork, DistillationLoss, Sample, Stepper]:
    """The parts of the first step of a run, and its batch of four images."""
    options = taught_run(dataset, Path("o"), teacher, **changes)
    fabric = Fabric(accelerator="cpu", devices=1)
    distillation_loss = DistillationLoss(fabric, random_model(BIG, seed=5), options)
    network = TrainingNetwork(
        random_model(SMALL).requires_grad_(True), options, distillation_loss.channels
    )
    stepper = Stepper(fabric, options, network, distillation_loss)
    data = find_training_data(options)
    sides = SMALL.input_sizes | distillation_loss.sides
    samples = Samples(data.pairs, sides, seed=0, unlabelled=data.unlabelled)
    drawn = [samples[SampleKey(0, number)] for number in (0, 1, data.count - 2, data.count - 1)]
    batch = {name: torch.stack([one[name] for one in drawn]) for name in drawn[0]}
    return network, distillation_loss, batch, stepper


class TestLosses:
    def test_logits(self) -> None:
        """PyTorch's own divergence of two distributions over inside and outside."""
        generator = torch.Generator().manual_seed(0)
        own, theirs = (3 * torch.randn(2, 1, 8, 8, generator=generator) for _ in range(2))
        both = [torch.cat((one, -one), 1) / TEMPERATURE for one in (own, theirs)]
        # The softmax of (z/2, -z/2) is the sigmoid of z.
        logs = [F.log_softmax(one / 2, 1) for one in both]
        expected = F.kl_div(*logs, reduction="sum", log_target=True) / own.numel()
        assert float(logit_loss(own, theirs)) == pytest.approx(
            float(expected) * TEMPERATURE**2, rel=1e-5
        )

    def test_equal_logits_are_no_loss_and_a_minimum(self) -> None:
        logits = (4 * torch.randn(2, 1, 8, 8)).requires_grad_(True)
        loss = logit_loss(logits, logits.detach())
        loss.backward()
        assert logits.grad is not None
        assert loss.item() == pytest.approx(0, abs=1e-6)
        assert float(logits.grad.abs().max()) < 1e-6

    def test_maps(self) -> None:
        """0 for the standardised map, 1 for zeros, whatever the scale of a channel."""
        scale = torch.tensor([1e-2, 1.0, 1e3])[:, None, None]
        theirs = torch.randn(4, 3, 8, 8) * scale + 5 * scale
        standardised = F.batch_norm(theirs, None, None, training=True)
        assert float(map_loss(standardised, theirs)) == pytest.approx(0, abs=1e-3)
        assert float(map_loss(torch.zeros_like(theirs), theirs)) == pytest.approx(1, rel=1e-2)

    def test_a_constant_map_has_no_influence(self) -> None:
        assert float(map_loss(torch.zeros(1, 2, 4, 4), torch.full((1, 2, 4, 4), 7.0))) == 0
        assert float(map_loss(torch.zeros(1, 2, 1, 1), torch.full((1, 2, 1, 1), 7.0))) == 0

    @pytest.mark.parametrize("side", [4, 10])
    def test_the_teachers_are_resampled(self, side: int) -> None:
        """A ramp stays one in both directions; at the borders it is cut off."""
        ramp = torch.linspace(-1, 1, 40).expand(1, 1, 40, 40)
        centres = torch.linspace(-1, 1, side) * (1 - 1 / side) / (1 - 1 / 40)
        own = centres.expand(1, 1, side, side)
        assert float(logit_loss(own, ramp)) < 1e-3 < float(logit_loss(-own, ramp))


class TestStep:
    def test_gradients_reach_the_student_and_not_the_teacher(
        self, dataset: Path, teacher: Path
    ) -> None:
        """The losses from the teacher alone train the whole student, projections included."""
        network, distillation_loss, batch, stepper = a_step(dataset, teacher)
        before = {
            key: tensor.clone() for key, tensor in distillation_loss._model.state_dict().items()
        }
        losses = stepper._losses(batch, [SampleKey(0, number) for number in range(4)])
        losses[3:].sum().backward()
        assert all(one.grad is not None and one.grad.any() for one in network.parameters())
        assert all(one.grad is None for one in distillation_loss._model.parameters())
        stepper.step(iter([batch]), [[SampleKey(0, number) for number in range(4)]], 1e-3)
        after = distillation_loss._model.state_dict()  # batch norm's statistics included
        assert all(torch.equal(before[key], after[key]) for key in before)

    def test_the_maps_loss_reaches_both_encoders(self, dataset: Path, teacher: Path) -> None:
        network, _, batch, stepper = a_step(dataset, teacher)
        stepper._losses(batch, [SampleKey(0, number) for number in range(4)])[-1].backward()
        reached = {
            name.split(".")[1]
            for name, parameter in network.named_parameters()
            if parameter.grad is not None and parameter.grad.abs().max() > 0
        }
        assert reached >= {"hiera", "dino", "inject", "0", "1", "2", "3"}
        assert not reached & {"rfb", "sff", "heads"}

    def test_the_teacher_sees_the_same_image(self, dataset: Path, teacher: Path) -> None:
        """Flips included: its logits are those that the model computes for the batch's images."""
        _, distillation_loss, batch, _ = a_step(dataset, teacher)
        logits, maps = distillation_loss._outputs(batch)
        model = random_model(BIG, seed=5)
        with torch.no_grad():
            expected = model(batch["teacher_hiera"], batch["teacher_dino"])
        for own, theirs in zip(logits, expected, strict=True):
            torch.testing.assert_close(own, theirs, rtol=0, atol=1e-3 * float(theirs.std()))
        assert [one.shape[1:] for one in maps] == [
            (channels, side, side)
            for channels, side in zip(BIG.hiera.channels, BIG.hiera.map_sizes, strict=True)
        ]
        small = F.interpolate(batch["teacher_hiera"], (128, 128), mode="bilinear", antialias=True)
        assert float((small - batch["hiera"]).abs().mean()) < 0.1 * float(small.abs().mean())

    def test_images_without_masks_teach_no_mask(
        self, dataset: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The losses from masks are those of the first two of four images."""
        _, _, batch, stepper = a_step(dataset, teacher, unlabelled=(dataset / "Image",))
        assert batch["labelled"].tolist() == [True, True, False, False]
        assert not batch["mask"][2:].any()
        seen: list[Tensor] = []
        real = dsunet.training.step.stage_losses

        def watched(logits: Any, mask: Tensor, **options: Any) -> Tensor:
            seen.append(mask)
            return real(logits, mask, **options)

        monkeypatch.setattr(dsunet.training.step, "stage_losses", watched)
        keys = [SampleKey(0, number) for number in range(4)]
        mixed = stepper._losses(batch, keys)
        assert torch.equal(seen[0], batch["mask"][:2])
        batch["labelled"][:] = False
        none = stepper._losses(batch, keys)
        assert len(seen) == 1
        assert none[:3].tolist() == [0, 0, 0]
        torch.testing.assert_close(none[3:], mixed[3:])


class TestRun:
    def test_a_student_learns_from_its_teacher_alone(
        self, dataset: Path, teacher: Path, tmp_path: Path
    ) -> None:
        """Without masks, the teacher's losses fall; checkpoint and log are those of any run."""
        options = taught_run(
            dataset, tmp_path / "run", teacher, datasets=(), unlabelled=(dataset / "Image",),
            epochs=12, lr=3e-3,
        )  # fmt: skip
        train(options)
        with (tmp_path / "run" / "log.csv").open() as file:
            rows = [{name: float(v) for name, v in row.items()} for row in csv.DictReader(file)]
        assert rows[-1]["loss_logits"] < 0.6 * rows[0]["loss_logits"]
        assert rows[-1]["loss_maps"] < 0.95 * rows[0]["loss_maps"]
        for row in rows:
            assert row["loss_coarse"] == row["loss_fine"] == 0
            assert row["loss"] == pytest.approx(row["loss_logits"] + row["loss_maps"])
        assert RunFolder(tmp_path / "run").read_config().data.unlabelled == 7

    def test_the_checkpoint_is_the_students(
        self, dataset: Path, teacher: Path, tmp_path: Path
    ) -> None:
        train(taught_run(dataset, tmp_path / "run", teacher, epochs=1))
        model = load_model(tmp_path / "run")
        assert model.config == SMALL

    def test_a_killed_run_goes_on_as_if_nothing_had_happened(
        self, dataset: Path, teacher: Path, tmp_path: Path
    ) -> None:
        """Projections and their optimizer state included, with images without masks."""

        def options(name: str) -> TrainingOptions:
            return taught_run(
                dataset, tmp_path / name, teacher, val_dataset=dataset, val_count=2, save_every=0,
                unlabelled=(dataset / "Image",),
            )  # fmt: skip

        def killed() -> None:
            after_three_steps()
            train(options("killed"))

        train(options("whole"))
        process = in_a_process(killed)
        process.join()
        resume(tmp_path / "killed")
        assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")

    def test_another_teacher_is_refused(self, dataset: Path, teacher: Path, tmp_path: Path) -> None:
        ours = tmp_path / "teacher.safetensors"
        shutil.copy(teacher, ours)
        train(taught_run(dataset, tmp_path / "run", ours, epochs=1))
        config = RunFolder(tmp_path / "run").read_config()
        assert config.teacher_sha256 == checkpoint_sha256(teacher)
        save_model(random_model(BIG, seed=6), ours)
        with pytest.raises(TrainingError, match=r"have changed \(teacher_sha256\): restore them"):
            resume(tmp_path / "run", epochs=2)

    def test_other_images_without_masks_are_refused(
        self, dataset: Path, teacher: Path, tmp_path: Path
    ) -> None:
        images = tmp_path / "images"
        shutil.copytree(dataset / "Image", images)
        train(taught_run(dataset, tmp_path / "run", teacher, epochs=1, unlabelled=(images,)))
        shutil.copy(images / "001.jpg", images / "000.jpg")
        with pytest.raises(TrainingError, match="images or masks have changed"):
            resume(tmp_path / "run", epochs=2)
        shutil.rmtree(images)
        with pytest.raises(DataError, match="images: is not a folder: restore it at that path"):
            resume(tmp_path / "run", epochs=2)

    def test_an_unreadable_image_without_a_mask_is_listed(
        self, dataset: Path, teacher: Path, tmp_path: Path
    ) -> None:
        images = tmp_path / "images"
        shutil.copytree(dataset / "Image", images)
        (images / "000.jpg").write_bytes(b"no image")
        with pytest.raises(DataError, match=r"(?s)1 that cannot be read.*000\.jpg"):
            train(taught_run(dataset, tmp_path / "run", teacher, unlabelled=(images,)))
        assert not (tmp_path / "run").exists()

    def test_a_teacher_without_its_encoders(
        self, dataset: Path, encoder_files: EncoderFiles, tmp_path: Path
    ) -> None:
        """The teacher's encoder files are given; the student has its own, frozen and cached."""
        given = {"sam2": encoder_files.sam2, "dinov2": encoder_files.dinov2}
        path = tmp_path / "trained.safetensors"
        save_model(random_model(SMALL, seed=3), path, only_trained=True)
        options = dataclasses.replace(
            taught_run(dataset, tmp_path / "run", path, **given),
            sam2=encoder_files.sam2, dinov2=encoder_files.dinov2, train_encoders=False,
            cache=tmp_path / "cache", epochs=1,
        )  # fmt: skip
        train(options)
        assert (tmp_path / "run" / "checkpoint.safetensors").exists()
        assert options.distillation is not None
        alone = dataclasses.replace(options.distillation, sam2=None)
        with pytest.raises(TrainingError, match=r"was trained with \(--teacher-sam2 and --teacher"):
            train(dataclasses.replace(options, distillation=alone, output=tmp_path / "other"))
        assert not (tmp_path / "other").exists()


class TestOptions:
    def test_no_weight_at_all_is_refused(self) -> None:
        with pytest.raises(TrainingError, match=r"both 0.*use dsunet train$"):
            Distillation(teacher=Path("t"), logit_loss=0, map_loss=0)

    @pytest.mark.parametrize("changes", [{"blend_hiera": 0.5}, {"mismatch": 0.1}])
    def test_what_the_teacher_does_not_see_is_refused(self, changes: dict[str, float]) -> None:
        with pytest.raises(TrainingError, match=r"--blend-hiera and --mismatch .* omit them"):
            taught_run(Path("d"), Path("o"), Path("t"), **changes)

    def test_paths_become_absolute(self) -> None:
        options = taught_run(
            Path("d"), Path("o"), Path("t"), unlabelled=(Path("u"),), sam2=Path("s"), dinov2="v"
        ).absolute()
        here = Path.cwd()
        assert options.distillation == Distillation(
            teacher=here / "t", unlabelled=(here / "u",), sam2=here / "s", dinov2=str(here / "v")
        )


@pytest.mark.slow
def test_the_command(dataset: Path, tmp_path: Path) -> None:
    """With a teacher that is a run folder, and images without masks only."""
    save_model(
        random_model(DSUNetConfig.preset("nano")), _made(tmp_path / "t") / "best.safetensors"
    )
    out = tmp_path / "run"
    arguments = [
        "distill", tmp_path / "t", "--preset", "pico", "--train-encoders", "--unlabelled",
        dataset / "Image", "-o", out, "--epochs", 1, "--workers", 0, "--map-loss", 0.5,
    ]  # fmt: skip
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == 0, result.output
    assert "7 images, 7 of them without masks" in result.stderr
    distillation = RunFolder(out).read_config().options.distillation
    assert distillation == Distillation(
        teacher=tmp_path / "t", unlabelled=(dataset / "Image",), map_loss=0.5
    )
    again = CliRunner().invoke(app, ["train", "--resume", str(out)])
    assert "is finished" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["t", "--dataset", "d"], 2, "give a new run folder with -o DIR"),
        (["t", "-o", "run"], 2, "give either --images and --masks, or --dataset"),
        (["t", "-o", "run", "--dataset", "d", "--logit-loss", "0", "--map-loss", "0"], 2, "both 0"),
        (["t", "-o", "run", "--unlabelled", "nowhere"], 1, "nowhere: is not a folder"),
        (["t", "-o", "r", "--dataset", "d", "--mismatch", "0.1"], 2, "omit them"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    arguments: list[str], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["distill", *arguments])
    assert result.exit_code == code
    assert message in " ".join(result.stderr.split())
    assert not list(tmp_path.iterdir())


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
