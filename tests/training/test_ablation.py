"""Four networks trained with the same options, evaluated, and listed beside the paper's table."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import dsunet.ablation.ablate
from dsunet import DSUNetConfig, Injection, load_model, random_model, save_model
from dsunet.ablation.ablate import ablate, open_trained
from dsunet.ablation.ablation_table import format_ablation_table
from dsunet.ablation.variant import Variant
from dsunet.cli import app
from dsunet.data.image_files import read_mask
from dsunet.errors import DataError, TrainingError
from dsunet.evaluation.metrics import score_image, summarize
from dsunet.evaluation.predictors import TorchPredictor
from dsunet.evaluation.results import DatasetResults
from dsunet.evaluation.test_sets import TestSet
from dsunet.torch_device import TorchDevice
from dsunet.training.options import TrainingOptions, TrainingPrecision
from dsunet.training.progress_report import ProgressReport
from dsunet.training.run_folder import LogRow, RunFolder
from tests.training.conftest import SMALL, EncoderFiles, small_run, write_dataset


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_dataset(folder / "train", 2, seed=0)
    write_dataset(folder / "CAMO", 3, seed=1)
    return folder


@pytest.fixture(scope="module")
def options(data: Path, encoder_files: EncoderFiles, tmp_path_factory: Any) -> TrainingOptions:
    """The paper's training: frozen encoders, which the checkpoints do not contain."""
    return small_run(
        data / "train",
        tmp_path_factory.mktemp("ablation"),
        train_encoders=False,
        sam2=encoder_files.sam2,
        dinov2=encoder_files.dinov2,
        batch=2,
        device=TorchDevice.CPU,
        save_every=0.0,
    )


def evaluated_on(data: Path) -> list[TestSet]:
    return [TestSet.of_dataset("CAMO", data / "CAMO").first(None)]


Ablation = tuple[Path, list[DatasetResults]]


@pytest.fixture(scope="module")
def ablation(options: TrainingOptions, data: Path) -> Ablation:
    """A complete ablation, for tests that only read it."""
    return options.output, ablate(options, evaluated_on(data), io.StringIO())


def scores(evaluation: list[DatasetResults]) -> dict[str, dict[str, float]]:
    return {r.model: asdict(r.scores) for one in evaluation for r in one.results}


class TestVariants:
    def test_are_the_papers(self) -> None:
        injections = {variant.value: variant.injection for variant in Variant}
        assert injections == {
            "A": Injection.NONE,
            "B": Injection.LEVELS,
            "C": Injection.ALL,
            "DSU-Net": Injection.LAST,
        }

    def test_differ_in_the_injection_alone(self, tmp_path: Path) -> None:
        options = TrainingOptions(
            output=tmp_path,
            datasets=(tmp_path,),
            sam2=tmp_path / "sam2.pt",
            dinov2="dinov2.pth",
            cache=tmp_path / "cache",
            seed=7,
        )
        for variant in (Variant.B, Variant.C, Variant.DSU_NET):
            config = DSUNetConfig().replace(injection=variant.injection)
            assert variant.options(options) == replace(
                options, output=tmp_path / variant.value, config=config
            )
        without = Variant.A.options(options)
        assert without.dinov2 is None
        assert without.cache is None
        assert without.sam2 == options.sam2


class TestAblation:
    def test_trains_and_evaluates_all_four(
        self, ablation: Ablation, data: Path, encoder_files: EncoderFiles
    ) -> None:
        out, evaluation = ablation
        found = scores(evaluation)
        assert list(found) == ["A", "B", "C", "DSU-Net"]
        for variant in Variant:
            model = load_model(
                out / variant.value / "checkpoint.safetensors",
                sam2=encoder_files.sam2,
                dinov2=None if variant is Variant.A else encoder_files.dinov2,
            )
            assert model.config == SMALL.replace(injection=variant.injection)
            with TorchPredictor(model) as predictor:
                images = []
                for number in range(3):
                    prepared = predictor.prepare(data / f"CAMO/Image/{number:03}.jpg")
                    mask = predictor.finish(predictor.infer([prepared])[0], prepared)
                    images.append(score_image(mask, read_mask(data / f"CAMO/Mask/{number:03}.png")))
            # Batches of another size round differently, which moves a mask by one level of 255.
            assert found[variant] == pytest.approx(asdict(summarize(images)), abs=0.01)

    def test_opens_checkpoints_that_hold_the_encoders(
        self, options: TrainingOptions, tmp_path: Path
    ) -> None:
        save_model(random_model(SMALL), tmp_path / "checkpoint.safetensors")
        for whole in ({"save_all": True}, {"train_encoders": True}):
            open_trained(replace(options, output=tmp_path, **whole)).close()

    def test_writes_a_report(self, ablation: Ablation) -> None:
        out, evaluation = ablation
        (dataset,) = json.loads((out / "report/metrics.json").read_text())["datasets"]
        found = {result["model"]: result["scores"] for result in dataset["results"]}
        assert found == scores(evaluation)
        lines = (out / "report/metrics.csv").read_text().splitlines()
        assert [line.split(",")[:3] for line in lines[1:]] == [
            ["CAMO", name, "3"] for name in ("A", "B", "C", "DSU-Net")
        ]

    def test_draws_the_papers_table(self, ablation: Ablation) -> None:
        (found,) = ablation[1]
        other = replace(found, test_set=replace(found.test_set, name="mine"))
        assert "paper" not in format_ablation_table([found, other])  # CAMO has 250 images, not 3
        camo = replace(
            found, test_set=replace(found.test_set, pairs=found.test_set.pairs[:1] * 250)
        )
        evaluation = [camo]
        lines = format_ablation_table([camo, other]).splitlines()
        assert lines[0].split() == ["CAMO,", "250", "images", "mine,", "3", "images"]
        assert lines[1].split() == ["S", "F", "E", "M"] * 2
        assert [line.split()[0] for line in lines[2:10]] == [
            "A", "paper", "B", "paper", "C", "paper", "DSU-Net", "paper",
        ]  # fmt: skip
        ours = scores(evaluation)["C"]
        row = [f"{ours[name]:.4f}" for name in ("s_measure", "f_adaptive", "e_mean", "mae")]
        assert lines[6].split() == ["C", *row, *row]
        # Table VIII, and nothing for a dataset that the paper does not know.
        assert lines[7].split() == ["paper", "0.880", "0.851", "0.922", "0.043"]
        assert lines[9].split() == ["paper", "0.889", "0.859", "0.931", "0.041"]
        assert all(len(line) == len(lines[2]) for line in lines[2:10:2])
        assert "paper" not in format_ablation_table([other])


class TestGoingOn:
    @pytest.fixture
    def copy(self, ablation: Ablation, tmp_path: Path) -> Path:
        return Path(shutil.copytree(ablation[0], tmp_path / "copy"))

    def test_trains_nothing_twice(
        self,
        ablation: Ablation,
        options: TrainingOptions,
        data: Path,
        copy: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        trained = spy(monkeypatch)
        again = ablate(replace(options, output=copy), evaluated_on(data), io.StringIO())
        assert trained == []
        assert scores(again) == scores(ablation[1])

    def test_after_an_interruption(
        self,
        ablation: Ablation,
        options: TrainingOptions,
        data: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        epochs: list[float] = []

        def interrupt(report: ProgressReport, row: LogRow, of: int) -> None:
            epochs.append(row["epoch"])
            if epochs == [1, 2, 1]:  # in the first epoch of B, after its only step
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(ProgressReport, "epoch", interrupt)
            with pytest.raises(KeyboardInterrupt):
                ablate(replace(options, output=tmp_path), evaluated_on(data), io.StringIO())
        trained = spy(monkeypatch)
        stream = io.StringIO()
        evaluation = ablate(replace(options, output=tmp_path), evaluated_on(data), stream)
        assert trained == ["resume B", "train C", "train DSU-Net"]
        assert "B: injection levels\ndevice cpu, " in stream.getvalue()
        assert scores(evaluation) == scores(ablation[1])  # as if nothing had happened

    def test_not_with_other_options(self, options: TrainingOptions, data: Path, copy: Path) -> None:
        other = replace(options, output=copy, seed=1, lr=0.1)
        with pytest.raises(
            TrainingError, match=r"A was started with other options \(lr, seed\): give"
        ):
            ablate(other, evaluated_on(data), io.StringIO())

    def test_not_with_other_data(
        self, options: TrainingOptions, data: Path, copy: Path, tmp_path: Path
    ) -> None:
        moved = Path(shutil.copytree(data, tmp_path / "data"))
        for run in ("A", "B", "C"):  # as if they had been trained on what is there now
            folder = RunFolder(copy / run)
            text = folder.config.read_text().replace(str(data), str(moved))
            folder.config.write_text(json.dumps(json.loads(text) | {"checksum": None}))
        shutil.rmtree(copy / "DSU-Net")
        with Image.open(moved / "train/Image/000.jpg") as image:
            image.rotate(180).save(moved / "train/Image/000.jpg")
        with pytest.raises(TrainingError, match="DSU-Net was trained on other images or masks"):
            ablate(
                replace(options, output=copy, datasets=(moved / "train",)),
                evaluated_on(data),
                io.StringIO(),
            )

    def test_broken_test_sets_are_found_before_training(
        self, options: TrainingOptions, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        test_set = write_dataset(tmp_path / "test", 1, seed=0)
        (test_set / "Mask/000.png").write_bytes(b"none")
        trained = spy(monkeypatch)
        with pytest.raises(DataError, match=r"000\.png"):
            ablate(
                replace(options, output=tmp_path / "out"),
                [TestSet.of_dataset("test", test_set)],
                io.StringIO(),
            )
        assert trained == []


def spy(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The parameters that are trained from here on."""
    calls: list[str] = []
    real = {name: getattr(dsunet.ablation.ablate, name) for name in ("train", "resume")}

    def train(options: TrainingOptions, report: ProgressReport) -> None:
        calls.append(f"train {options.output.name}")
        real["train"](options, report)

    def resume(path: Path, report: ProgressReport) -> None:
        calls.append(f"resume {path.name}")
        real["resume"](path, report)

    monkeypatch.setattr(dsunet.ablation.ablate, "train", train)
    monkeypatch.setattr(dsunet.ablation.ablate, "resume", resume)
    return calls


class TestCommand:
    def run(self, *arguments: object) -> Result:
        return CliRunner().invoke(app, ["ablate", *map(str, arguments)])

    @pytest.fixture
    def requested(self, ablation: Ablation, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """Record the arguments of the command's ablation; return a finished one."""
        requested: list[Any] = []

        def ablate(options: TrainingOptions, test_sets: list[TestSet], stream: object) -> Any:
            requested.extend((options, test_sets))
            return ablation[1]

        monkeypatch.setattr(dsunet.ablation.ablate, "ablate", ablate)
        return requested

    def test_takes_the_options_of_training(
        self, ablation: Ablation, requested: list[Any], data: Path, tmp_path: Path
    ) -> None:
        result = self.run(
            "-o", tmp_path, "--test", f"CAMO={data}/CAMO", "--dataset", data / "train",
            "--preset", "nano", "--sam2", "s.pt", "--epochs", 3, "--precision", "bf16",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        assert result.stdout == format_ablation_table(ablation[1]) + "\n"
        options, (test_set,) = requested
        assert options == TrainingOptions(
            output=tmp_path,
            datasets=(data / "train",),
            config=DSUNetConfig.preset("nano"),
            sam2=Path("s.pt"),
            epochs=3,
            precision=TrainingPrecision.BF16,
        )
        assert isinstance(options.precision, TrainingPrecision)
        assert test_set.name == "CAMO"

    def test_json(self, requested: list[Any], data: Path, tmp_path: Path) -> None:
        result = self.run(
            "-o", tmp_path, "--test", f"CAMO={data}/CAMO", "--dataset", data / "train", "--json"
        )
        assert result.exit_code == 0, result.output
        (dataset,) = json.loads(result.stdout)["datasets"]
        assert [each["model"] for each in dataset["results"]] == ["A", "B", "C", "DSU-Net"]

    @pytest.mark.parametrize(
        ("arguments", "code", "complaint"),
        [
            (("--injection", "all"), 2, "dsunet ablate sets --injection for each network"),
            (
                ("--checkpoint", "x", "--resume", "y"),
                2,
                "sets --checkpoint, --resume for each network",
            ),
            (("--unknown", "x"), 2, "No such option: --unknown"),
            (("--test", "x="), 2, "--test x=: give NAME=DIR or DIR"),
            (("--test", "CAMO=none"), 1, "none: is not a folder"),
            (("--images", "x"), 2, "omit --images and --masks"),
            (("--epochs", "0"), 2, "'--epochs': '0' is not an integer from 1"),
        ],
    )
    def test_refuses(
        self, data: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, complaint: str
    ) -> None:
        test = () if "--test" in arguments else ("--test", f"CAMO={data}/CAMO")
        result = self.run("-o", tmp_path / "out", *test, "--dataset", data / "train", *arguments)
        assert result.exit_code == code
        assert complaint in " ".join(result.stderr.split())
        assert not (tmp_path / "out").exists()
