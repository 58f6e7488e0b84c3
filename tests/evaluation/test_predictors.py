"""Predictors: each kind of file, and a model in memory."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from dsunet import DSUNet
from dsunet.errors import CheckpointError, EvaluationError
from dsunet.evaluation.predictors import TorchPredictor, open_predictor
from dsunet.torch_device import TorchDevice
from dsunet_runtime import ArtifactError, BackendError, ImageError
from dsunet_runtime.artifact.manifest import IMAGENET_MEAN, IMAGENET_STD, MaskForm
from dsunet_runtime.prediction.jobs import Job
from dsunet_runtime.prediction.predict_jobs import predict_jobs
from dsunet_runtime.provider import Provider
from tests.runtime import artifacts


@pytest.fixture
def photo(dataset: Path) -> Path:
    return dataset / "Image" / "scene0.jpg"


def test_a_model_in_memory_follows_the_published_protocol(nano: DSUNet, photo: Path) -> None:
    with Image.open(photo) as image:
        width, height = image.size
        inputs = {}
        for name, side in nano.config.input_sizes.items():
            pixels = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR)) / 255
            normal = (pixels - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
            inputs[name] = torch.from_numpy(normal).float().permute(2, 0, 1)[None]
    with torch.no_grad():
        logits = F.interpolate(nano(**inputs).fine, size=(height, width), mode="bilinear")
    levels = logits.sigmoid()[0, 0]
    levels = (levels - levels.min()) / (levels.max() - levels.min() + 1e-8)
    mask = TorchPredictor(nano)(photo)
    assert mask.dtype == np.uint8
    assert mask.shape == (height, width)
    # Truncation turns a rounding into 1.  Where Pillow resamples a tall image in another order
    # (from version 13 on), values of the input move by 1, and the mask with them.
    assert np.abs(mask - np.floor(levels.numpy() * 255)).max() <= 2


def test_a_checkpoint_and_the_model_in_it_give_one_mask(
    nano: DSUNet, checkpoint: Path, photo: Path
) -> None:
    with open_predictor(checkpoint, device=TorchDevice.CPU) as predictor:
        assert isinstance(predictor, TorchPredictor)
        np.testing.assert_array_equal(predictor(photo), TorchPredictor(nano)(photo))
    with pytest.raises(BackendError, match="closed"):
        predictor(photo)


def test_an_artifact(tmp_path: Path, photo: Path) -> None:
    with open_predictor(artifacts.frames(tmp_path / "a.onnx"), provider=Provider.CPU) as predictor:
        with Image.open(photo) as image:
            expected = artifacts.expected_frames_mask(np.asarray(image))
        np.testing.assert_array_equal(predictor(photo), expected)


def test_an_engine_is_recognised_by_its_suffix(tmp_path: Path) -> None:
    engine = tmp_path / "a.engine"
    engine.write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"a\.engine\.json: missing"):
        open_predictor(engine)


def test_options_of_another_kind_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    artifact = artifacts.frames(tmp_path / "a.onnx")
    with pytest.raises(EvaluationError, match="apply to checkpoints only"):
        open_predictor(artifact, device=TorchDevice.CPU)
    with pytest.raises(EvaluationError, match="applies to ONNX files only"):
        open_predictor(checkpoint, provider=Provider.CPU)


def test_what_is_no_model_is_refused(photo: Path) -> None:
    with pytest.raises(CheckpointError):
        open_predictor(photo)


def test_a_model_that_still_trains_is_refused(nano: DSUNet, photo: Path) -> None:
    nano.train()
    try:
        with pytest.raises(BackendError, match=r"eval\(\)"):
            TorchPredictor(nano)(photo)
    finally:
        nano.eval()


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A file that is not an image, whatever its name."""
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0 and no more")
    return path


def test_broken_images_are_reported(nano: DSUNet, broken: Path) -> None:
    with pytest.raises(ImageError, match=r"broken\.jpg"):
        TorchPredictor(nano)(broken)


def test_a_broken_image_does_not_keep_the_next_from_its_mask(
    nano: DSUNet, broken: Path, photo: Path, tmp_path: Path
) -> None:
    jobs = [Job.of_mask(path, tmp_path / f"{path.stem}.png") for path in (broken, photo)]
    first, second = predict_jobs(TorchPredictor(nano), jobs, TorchPredictor.best_batch)
    assert isinstance(first.fault, ImageError)
    assert second.fault is None
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "scene0.png")), TorchPredictor(nano)(photo)
    )


def test_broken_weights_are_reported(nano: DSUNet, photo: Path) -> None:
    model = copy.deepcopy(nano)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(math.nan)
    with pytest.raises(BackendError, match="not finite: its weights are damaged"):
        TorchPredictor(model)(photo)


@pytest.mark.parametrize("form", list(MaskForm))
def test_weights_of_zeros_are_reported(nano: DSUNet, photo: Path, form: MaskForm) -> None:
    model = copy.deepcopy(nano)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    with pytest.raises(BackendError, match=r"the same at every pixel, .*: use another checkpoint"):
        TorchPredictor(model, mask_form=form)(photo)
    mask = TorchPredictor(model, mask_form=form, refuse_constant=False)(photo)
    assert mask.min() == mask.max()
