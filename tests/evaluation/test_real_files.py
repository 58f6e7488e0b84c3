"""`dsunet evaluate` on the kinds of files that users have."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from dsunet.cli import app
from dsunet.data.layouts import is_generic
from dsunet.evaluation.test_sets import TestSet
from tests.evaluation.library import run_directly
from tests.runtime import artifacts

pytestmark = pytest.mark.usefixtures("scoring_in_threads")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments), "--workers", "1"])


def scores_of(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.stderr
    return dict(json.loads(result.stdout)["datasets"][0])


@pytest.fixture
def copied(dataset: Path, tmp_path: Path) -> Path:
    """The dataset, to be changed."""
    return Path(shutil.copytree(dataset, tmp_path / "mine"))


class TestMasksOfAnotherSize:
    """The prediction is resampled to the mask, as for NC4K."""

    @pytest.fixture
    def nc4k(self, copied: Path) -> Path:
        """One mask has a column more than its image."""
        path = copied / "Mask" / "scene1.png"
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert mask is not None
        wider = cv2.copyMakeBorder(mask, 0, 0, 0, 1, cv2.BORDER_REPLICATE)
        assert cv2.imwrite(str(path), wider)
        return copied

    def test_of_a_model(self, nc4k: Path, tmp_path: Path) -> None:
        model = artifacts.frames(tmp_path / "frames.onnx")
        result = run(
            model, "--dataset", f"NC4K={nc4k}", "--save-masks", tmp_path / "kept", "--json"
        )
        found = scores_of(result)
        assert found["images_resampled"] == 1
        assert "1 of 6 masks are slightly larger or smaller" in result.stderr
        pairs = []
        for path in sorted((nc4k / "Mask").iterdir()):
            ground_truth = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            kept = cv2.imread(str(tmp_path / "kept/NC4K" / path.name), cv2.IMREAD_GRAYSCALE)
            assert ground_truth is not None
            assert kept is not None
            with Image.open(nc4k / "Image" / f"{path.stem}.jpg") as image:
                assert kept.shape == (image.height, image.width)  # kept as the model gives it
            pairs.append((cv2.resize(kept, ground_truth.shape[::-1]), ground_truth))
        expected = run_directly(pairs)  # type: ignore[arg-type]
        scores = found["results"][0]["scores"]
        assert scores == {name: expected[name] for name in scores}

    def test_of_predictions(self, nc4k: Path) -> None:
        arguments = ("--predictions", nc4k / "Predicted", "--dataset", f"NC4K={nc4k}")
        assert scores_of(run(*arguments, "--json"))["images_resampled"] == 1
        result = run(*arguments)
        assert "NC4K: 1 mask resampled to the size of the ground truth." in result.stdout


class TestPredictionsThatCannotBeReadRightly:
    def refuses(self, copied: Path, *, match: str) -> None:
        result = run("--predictions", copied / "Predicted", "--masks", copied / "Mask")
        assert result.exit_code == 1
        assert result.stdout == ""
        assert match in result.stderr

    @pytest.mark.parametrize("labels", [(0, 1), (0, 2), (0, 1, 2)])
    def test_labels(self, copied: Path, labels: tuple[int, ...]) -> None:
        for path in (copied / "Predicted").iterdir():
            with Image.open(path) as image:
                levels = np.asarray(image)
            Image.fromarray((levels // 86 % len(labels)).astype(np.uint8)).save(path)
            with Image.open(path) as image:
                Image.fromarray(np.array(labels, np.uint8)[np.asarray(image)]).save(path)
        self.refuses(copied, match=f"maximum of all 6 masks is {labels[-1]}, which suggests")

    def test_a_cut_out(self, copied: Path) -> None:
        path = copied / "Predicted" / "scene2.png"
        with Image.open(path) as image:
            cut_out = Image.new("RGB", image.size, (200, 10, 10))
            cut_out.putalpha(image.convert("L"))
        cut_out.save(path)
        self.refuses(copied, match="scene2.png: has transparent pixels")

    def test_colours_of_heat(self, copied: Path) -> None:
        path = copied / "Predicted" / "scene2.png"
        levels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert levels is not None
        assert cv2.imwrite(str(path), cv2.applyColorMap(levels, cv2.COLORMAP_JET))
        self.refuses(copied, match="scene2.png: has coloured pixels")

    def test_a_link_that_leads_nowhere(self, copied: Path) -> None:
        path = copied / "Predicted" / "scene2.png"
        path.unlink()
        path.symlink_to("nowhere")
        self.refuses(copied, match="scene2.png: is a broken link")


class TestNames:
    @pytest.mark.parametrize(
        ("folders", "name"),
        [
            ("held-out/Mask", "held-out"),
            ("mine/test/masks", "mine"),
            ("mine/images/test/gt", "mine"),
            ("data/ECSSD/ground_truth_mask", "ECSSD"),
            ("TestDataset/NC4K/GT", "NC4K"),
            ("something/my-mask", "my-mask"),
        ],
    )
    def test_of_datasets(self, dataset: Path, tmp_path: Path, folders: str, name: str) -> None:
        masks = tmp_path / folders
        shutil.copytree(dataset / "Mask", masks)
        assert TestSet.of_predictions(dataset / "Predicted", masks).name == name

    def test_only_generic_names(self) -> None:
        assert all(map(is_generic, ("Mask", "GT", "Imgs", "test", "TR", "TestDataset")))
        assert not any(map(is_generic, ("ECSSD", "held-out", "masked")))

    def test_that_are_no_utf8(self, copied: Path, tmp_path: Path) -> None:
        name = os.fsdecode(b"caf\xe9")
        for folder, suffix in (("Image", ".jpg"), ("Mask", ".png"), ("Predicted", ".png")):
            (copied / folder / f"scene3{suffix}").rename(copied / folder / f"{name}{suffix}")
        odd = copied.rename(tmp_path / name)
        report, kept = tmp_path / "report", tmp_path / "kept"
        model = artifacts.frames(tmp_path / "frames.onnx")
        arguments = (model, "--images", odd / "Image", "--masks", odd / "Mask")
        result = run(*arguments, "-o", report, "--save-masks", kept)
        assert result.exit_code == 0, result.stderr
        assert "caf\\xe9, 6 images" in result.stdout
        assert (kept / name / f"{name}.png").is_file()
        (one,) = json.loads((report / "metrics.json").read_text("utf-8"))["datasets"]
        assert one["name"] == "caf\\xe9"
        with (report / "images.csv").open(encoding="utf-8") as file:
            assert "caf\\xe9" in [row["stem"] for row in csv.DictReader(file)]
        assert "caf\\xe9" in (report / "report.html").read_text("utf-8")
        predicted = ("--predictions", odd / "Predicted", "--dataset", f"{name}={odd}")
        assert run(*predicted, "-o", report).exit_code == 0


def test_accents_coded_in_two_ways(copied: Path) -> None:
    names = {"Image": "Ba\u0308r.jpg", "Mask": "B\u00e4r.png", "Predicted": "B\u00e4r.png"}
    for folder, name in names.items():
        path = copied / folder / f"scene3{Path(name).suffix}"
        path.rename(path.with_name(name))
    result = run("--predictions", copied / "Predicted", "--dataset", f"x={copied}", "--json")
    assert scores_of(result)["images"] == 6


def test_files_left_out_are_reported(copied: Path) -> None:
    (copied / "Predicted" / "readme.txt").touch()
    frames = [Image.new("L", (9, 9)), Image.new("L", (9, 9), 255)]
    frames[0].save(copied / "Mask" / "new.gif", save_all=True, append_images=frames[1:])
    frames[1].save(copied / "Predicted" / "new.png")
    frames[1].save(copied / "Image" / "new.png")
    result = run("--predictions", copied / "Predicted", "--masks", copied / "Mask")
    assert result.exit_code == 0, result.stderr
    assert "left out 1 file: .txt (1)" in result.stderr


def test_figures_are_printed_before_they_are_written(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("dsunet.evaluation.report_files._write", fail)
    folders = ("--predictions", dataset / "Predicted", "--masks", dataset / "Mask")
    result = run(*folders, "--json", "-o", tmp_path / "report")
    assert result.exit_code == 1
    assert result.stderr == "dsunet: No space left on device\n"
    assert json.loads(result.stdout)["datasets"][0]["images"] == 6
    assert not (tmp_path / "report").exists()
