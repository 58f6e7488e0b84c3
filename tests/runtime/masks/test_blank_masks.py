"""Networks that compute no numbers are noticed, those that find nothing are not taken for such."""

from __future__ import annotations

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

import dsunet_runtime
from dsunet_runtime import BackendError, read_manifest
from dsunet_runtime.artifact.file_digest import digest
from dsunet_runtime.artifact.manifest import MaskForm, SelfTestCase, Verification
from dsunet_runtime.cli import app
from tests.runtime import artifacts, engines, fake_tensorrt
from tests.runtime.conftest import Machine

NAN = np.float32([0.1, np.nan, 0.3])
COLOURS = np.float32([3, -1, 2])
SURE = np.float32([-2000, 0, 4000])
"""Black and white pixels have logits of 0 and 2000; grey ones of red alone far below 0."""

SIZES = [(8, 8), (1, 64), (64, 1), (20, 30)]
"""Height and width, from the fewest pixels that are checked."""

VERIFIED = Verification("random 20, 30", "mask", 0, 0, 1, 1, "levels")


def uniform(*colour: int) -> NDArray[np.uint8]:
    return np.full((20, 30, 3), colour, np.uint8)


def photo() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


class TestNan:
    @pytest.mark.parametrize("weights", [NAN, np.float32([np.inf, -np.inf, 0])])
    @pytest.mark.parametrize("dimensions", [{}, {"batch": 4}, {"height": 20, "width": 30}])
    def test_in_weights(
        self, tmp_path: Path, weights: NDArray[np.float32], dimensions: dict[str, int]
    ) -> None:
        path = artifacts.stretching(tmp_path / "a.onnx", weights, **dimensions)
        with dsunet_runtime.load(path) as segmenter:
            for _ in range(2):
                with pytest.raises(BackendError, match=r"computes NaN or infinity: .*--no-verify"):
                    segmenter(photo())

    def test_in_weights_of_an_unverified_artifact_of_probabilities(self, tmp_path: Path) -> None:
        """Such a mask is black where there is nothing; a verified artifact has computed numbers."""
        path = artifacts.frames(tmp_path / "a.onnx", weights=NAN)
        with (
            dsunet_runtime.load(path) as segmenter,
            pytest.raises(BackendError, match=r"computes NaN or infinity: .*--no-verify"),
        ):
            segmenter(photo())
        nothing = np.float32([0, 0, 0])
        path = artifacts.frames(tmp_path / "b.onnx", weights=nothing, verification=(VERIFIED,))
        with dsunet_runtime.load(path) as segmenter:
            assert not segmenter(photo()).any()

    @pytest.mark.parametrize(("points", "is_noticed"), [((0, 90), True), ((0, 8), False)])
    def test_after_verification_where_the_selftest_has_objects(
        self, tmp_path: Path, points: tuple[int, int], is_noticed: bool
    ) -> None:
        """Its references say whether the network finds something in the test images."""
        case = SelfTestCase(0, 120, 160, (0.0,) * 64, tuple(map(float, points)) * 32, 1.0, 1.0)
        verified = {"verification": (VERIFIED,), "selftest": (case,)}
        path = artifacts.frames(tmp_path / "a.onnx", weights=NAN, **verified)
        with dsunet_runtime.load(path) as segmenter:
            if not is_noticed:
                assert not segmenter(photo()).any()
                return
            for _ in range(2):
                with pytest.raises(BackendError, match=r"computes NaN or infinity: .*--no-verify"):
                    segmenter(photo())

    def test_a_verified_network_that_finds_objects_may_find_none(self, tmp_path: Path) -> None:
        case = SelfTestCase(0, 120, 160, (0.0,) * 64, (0.0, 90.0) * 32, 1.0, 1.0)
        verified = {"verification": (VERIFIED,), "selftest": (case,)}
        path = artifacts.frames(tmp_path / "a.onnx", **verified)
        with dsunet_runtime.load(path) as segmenter:
            assert not segmenter(uniform(0, 0, 0)).any()

    @pytest.mark.parametrize(("height", "width"), SIZES)
    def test_in_weights_of_a_fixed_size(self, tmp_path: Path, height: int, width: int) -> None:
        path = artifacts.stretching(tmp_path / "a.onnx", NAN, height=height, width=width)
        with (
            dsunet_runtime.load(path) as segmenter,
            pytest.raises(BackendError, match="computes NaN or infinity"),
        ):
            segmenter(photo()[:1, :1].repeat(height, 0).repeat(width, 1))

    @pytest.mark.parametrize("form", list(MaskForm))
    def test_in_weights_where_there_are_logits(self, tmp_path: Path, form: MaskForm) -> None:
        path = artifacts.tensors(tmp_path / "a.onnx", scale=float("nan"), mask_form=form)
        with (
            dsunet_runtime.load(path) as segmenter,
            pytest.raises(BackendError, match=r"logits that are not finite: .*--no-verify"),
        ):
            segmenter(photo())

    @pytest.mark.parametrize("form", list(MaskForm))
    def test_same_logits_for_every_image(self, tmp_path: Path, form: MaskForm) -> None:
        path = artifacts.tensors(tmp_path / "a.onnx", dino=False, scale=0, mask_form=form)
        with (
            dsunet_runtime.load(path) as segmenter,
            pytest.raises(BackendError, match=r"the same at every pixel, .*: export another"),
        ):
            segmenter(photo())

    def test_of_an_engine(self, machine: Machine, tmp_path: Path) -> None:
        """Whose GPU turns it into 0, as the weights of this fake one say."""
        path = engines.frames(tmp_path / "a.engine")
        document = json.loads(path.read_text()) | {"weights": [0, 0, 0]}
        fake_tensorrt.write_engine(path, document)
        manifest = read_manifest(path)
        assert manifest.engine is not None
        engine = dataclasses.replace(manifest.engine, file=digest(path))
        stretched = dataclasses.replace(manifest, mask_form=MaskForm.STRETCHED, engine=engine)
        engines.write_manifest(path, stretched)
        with (
            dsunet_runtime.load(path) as segmenter,
            pytest.raises(BackendError, match="computes NaN or infinity"),
        ):
            segmenter(photo())

    def test_in_a_command(self, tmp_path: Path) -> None:
        path = artifacts.stretching(tmp_path / "a.onnx", NAN)
        Image.fromarray(photo()).save(tmp_path / "a.png")
        arguments = ["predict", path, tmp_path / "a.png", "-o", tmp_path / "out"]
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 1
        assert result.stdout.startswith("0 masks, 1 failed")
        assert "a.png: the network computes NaN or infinity" in result.stderr
        assert not (tmp_path / "out").exists()


class TestNothingFound:
    @pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (90, 10, 200)])
    def test_uniform_images(self, tmp_path: Path, colour: tuple[int, int, int]) -> None:
        """A network of single pixels has nothing to tell them apart by; real ones have."""
        path = artifacts.stretching(tmp_path / "a.onnx", COLOURS)
        with dsunet_runtime.load(path) as segmenter:
            assert not segmenter(uniform(*colour)).any()
            assert segmenter(photo()).any()
            assert not segmenter(uniform(*colour)).any()

    @pytest.mark.parametrize(
        ("weights", "height", "width"),
        [*((COLOURS, *size) for size in SIZES), (SURE, 8, 8), (SURE, 20, 30)],
    )
    def test_uniform_images_of_a_fixed_size(
        self, tmp_path: Path, weights: NDArray[np.float32], height: int, width: int
    ) -> None:
        """The test images have something to tell apart by in the smallest sizes too."""
        path = artifacts.stretching(tmp_path / "a.onnx", weights, height=height, width=width)
        with dsunet_runtime.load(path) as segmenter:
            assert not segmenter(np.full((height, width, 3), 90, np.uint8)).any()

    def test_a_single_pixel(self, tmp_path: Path) -> None:
        for dimensions in ({}, {"height": 1, "width": 1}):
            path = artifacts.stretching(tmp_path / "a.onnx", COLOURS, **dimensions)
            with dsunet_runtime.load(path) as segmenter:
                assert segmenter(photo()[:1, :1]).tolist() == [[0]]

    def test_where_the_network_is_sure_of_it(self, tmp_path: Path) -> None:
        """Below 1e-10 everywhere, the guard against dividing by zero is what it is divided by."""
        path = artifacts.stretching(tmp_path / "a.onnx", SURE)
        nothing = photo()
        nothing[..., 0] |= 128
        nothing[..., 2] = 0
        with dsunet_runtime.load(path) as segmenter:
            assert not segmenter(nothing).any()

    def test_is_right_as_a_probability(self, tmp_path: Path) -> None:
        path = artifacts.frames(tmp_path / "a.onnx", mask_form=MaskForm.PROBABILITY)
        with dsunet_runtime.load(path) as segmenter:
            assert not segmenter(uniform(0, 0, 0)).any()
            assert segmenter(uniform(255, 255, 255)).all()

    @pytest.mark.parametrize("form", list(MaskForm))
    def test_same_logits_for_a_uniform_image(self, tmp_path: Path, form: MaskForm) -> None:
        path = artifacts.tensors(tmp_path / "a.onnx", dino=False, mask_form=form)
        with dsunet_runtime.load(path) as segmenter:
            mask = segmenter(uniform(90, 10, 200))
            assert mask.min() == mask.max()

    def test_test_images_are_computed_once_at_most(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = []

        def count(*picture: int) -> NDArray[np.uint8]:
            made.append(picture)
            return photo()

        monkeypatch.setattr("dsunet_runtime.masks.blank_masks.picture", count)
        path = artifacts.frames(tmp_path / "a.onnx")
        with dsunet_runtime.load(path) as segmenter:
            segmenter(photo())
            segmenter(uniform(0, 0, 0))
        assert not made
        with dsunet_runtime.load(path) as segmenter:
            for _ in range(3):
                assert not segmenter(uniform(0, 0, 0)).any()
        assert made == [(0, 256, 256), (1, 256, 256)]

    def test_from_several_threads(self, tmp_path: Path) -> None:
        path = artifacts.stretching(tmp_path / "a.onnx", COLOURS)
        with dsunet_runtime.load(path) as segmenter, ThreadPoolExecutor(8) as pool:
            images = [uniform(level, level, level) for level in range(32)]
            assert not any(mask.any() for mask in pool.map(segmenter, images))
