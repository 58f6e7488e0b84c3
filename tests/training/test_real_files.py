"""Training on the kinds of files that users have."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from dsunet import load_model
from dsunet.data.image_files import read_mask
from dsunet.errors import DataError
from dsunet.evaluation.metrics import score_image, summarize
from dsunet.evaluation.predictors import TorchPredictor
from dsunet.training import resume, train
from dsunet.training.run_folder import RunFolder
from dsunet.training.training_data import find_training_data
from tests.training.conftest import small_run


@pytest.fixture
def copied(dataset: Path, tmp_path: Path) -> Path:
    """The seven pairs, to be changed."""
    return Path(shutil.copytree(dataset, tmp_path / "mine"))


def test_names_that_are_no_utf8(copied: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    (copied / "Image/003.jpg").rename(copied / f"Image/{name}.jpg")
    (copied / "Mask/003.png").rename(copied / f"Mask/{name}.png")
    odd = copied.rename(tmp_path / name)
    options = small_run(
        odd, tmp_path / f"{name} $\\no^math$", epochs=1, val_dataset=odd, val_count=7
    )
    train(options)
    document = (options.output / "config.json").read_text("utf-8")
    assert json.loads(document)["data"]["pairs"] == 7
    resume(options.output)  # it is finished, and finds its data again
    config = RunFolder(options.output).read_config()
    assert config.data.sha256 == find_training_data(options).sha256


def test_validation_resamples_to_masks_of_another_size(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied / "Mask/002.png"
    with Image.open(path) as mask:
        mask.convert("L").resize((mask.width + 3, mask.height + 1)).save(path)
    options = small_run(copied, tmp_path / "run", epochs=1, val_dataset=copied, val_count=7)
    train(options)
    assert "2 of 14 masks are slightly larger or smaller" in capsys.readouterr().err
    predictor = TorchPredictor(load_model(options.output / "checkpoint.safetensors"))
    scores = []
    for image in sorted((copied / "Image").iterdir()):
        ground_truth = read_mask(copied / f"Mask/{image.stem}.png")
        scores.append(
            score_image(cv2.resize(predictor(image), ground_truth.shape[::-1]), ground_truth)
        )
    row = (options.output / "log.csv").read_text().splitlines()
    logged = dict(zip(row[0].split(","), map(float, row[1].split(",")), strict=True))
    assert logged["val_mae"] == pytest.approx(
        summarize(scores).mae, abs=1e-5
    )  # single levels differ


def test_all_faults_in_training_and_validation_are_reported_together(
    copied: Path, tmp_path: Path
) -> None:
    held_out = Path(shutil.copytree(copied, tmp_path / "held-out"))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    with Image.open(copied / "Image/001.jpg") as image:
        image.save(copied / "Image/001.jpg", exif=exif)
    with Image.open(held_out / "Mask/004.png") as mask:
        Image.fromarray(np.asarray(mask).astype(np.uint8) * 2).save(held_out / "Mask/004.png")
    (held_out / "Image/005.jpg").unlink()
    options = small_run(copied, tmp_path / "run", val_dataset=held_out)
    with pytest.raises(DataError) as caught:
        find_training_data(dataclasses.replace(options, val_count=100))
    for words in ("001.jpg: orientation 3", "004.png: its values are 0 and 2", "005.png: no image"):
        assert words in str(caught.value)
    assert not options.output.exists()
