"""`Segmenter.predict`, and the images that its result returns."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dsunet_runtime import ImageError, OutputError, Result, Segmenter
from dsunet_runtime.masks.backdrops import BlurBackdrop, ColourBackdrop, ImageBackdrop
from dsunet_runtime.masks.renderings import Background, Binary, Cutout, Overlay


@pytest.fixture
def result(segmenter: Segmenter, photo: NDArray[np.uint8]) -> Result:
    return segmenter.predict(photo)


def test_image_and_mask(segmenter: Segmenter, photo: NDArray[np.uint8], tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # orientation
    Image.fromarray(photo).save(tmp_path / "a.png", exif=turned)
    result = segmenter.predict((tmp_path / "a.png").read_bytes())
    np.testing.assert_array_equal(result.image, np.rot90(photo, -1))
    np.testing.assert_array_equal(result.mask, segmenter(result.image))


def test_images(result: Result) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    for drawn, rendering in (
        (result.binary(), Binary(128)),
        (result.binary(90), Binary(90)),
        (result.binary("otsu"), Binary(None)),
        (result.cutout(), Cutout()),
        (result.overlay(), Overlay()),
        (result.background("red"), Background(ColourBackdrop((255, 0, 0)))),
        (result.background((1, 2, 3)), Background(ColourBackdrop((1, 2, 3)))),
        (result.background("blur"), Background(BlurBackdrop())),
        (result.background(picture), Background(ImageBackdrop(picture))),
        (result.background(Image.fromarray(picture)), Background(ImageBackdrop(picture))),
    ):
        assert drawn.mode == {1: "L", 3: "RGB", 4: "RGBA"}[rendering.channels]
        np.testing.assert_array_equal(drawn, rendering(result.image, result.mask))


def test_images_have_the_profile(segmenter: Segmenter, photo: NDArray[np.uint8]) -> None:
    profile = (bytes(16) + b"RGB ").ljust(128, b"\0")
    image = Image.fromarray(photo)
    image.info["icc_profile"] = profile
    result = segmenter.predict(image)
    assert result.icc_profile == profile
    for drawn in (result.cutout(), result.background("red"), result.overlay()):
        assert drawn.info["icc_profile"] == profile
    assert "icc_profile" not in result.binary().info


def test_background_from_a_path(result: Result, tmp_path: Path) -> None:
    Image.new("RGB", (3, 3), "blue").save(tmp_path / "blue.png")
    expected = result.background("blue")
    assert result.background(tmp_path / "blue.png") == expected
    assert result.background(str(tmp_path / "blue.png")) == expected


@pytest.mark.parametrize("threshold", [0, 256, -1, "half", 0.5])
def test_thresholds_that_are_none(result: Result, threshold: object) -> None:
    with pytest.raises(ImageError, match="is neither 1 to 255 nor otsu"):
        result.binary(threshold)  # type: ignore[arg-type]


@pytest.mark.parametrize("background", ["whit", (1, 2), (256, 0, 0), None])
def test_backgrounds_that_are_none(result: Result, background: object) -> None:
    with pytest.raises(ImageError):
        result.background(background)  # type: ignore[arg-type]


def test_save(result: Result, tmp_path: Path) -> None:
    result.save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as image:
        assert (image.format, image.mode) == ("PNG", "L")
        np.testing.assert_array_equal(image, result.mask)
    with pytest.raises(OutputError, match=re.escape("masks are PNG files: name")):
        result.save(tmp_path / "mask.jpg")
    with pytest.raises(OutputError, match="cannot be written: No such file"):
        result.save(tmp_path / "absent/mask.png")
