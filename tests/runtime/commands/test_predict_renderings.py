"""`dsunet-run predict` with renderings, and the notice about images without an object."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from dsunet_runtime.artifact.manifest import MaskForm
from dsunet_runtime.masks.backdrops import ColourBackdrop
from dsunet_runtime.masks.foreground import foreground
from dsunet_runtime.masks.renderings import Background, Binary, Cutout, Overlay, Rendering
from tests.runtime import artifacts
from tests.runtime.commands.runner import names, predict


class TestRenderings:
    def test_several_into_a_folder(
        self,
        frames_artifact: Path,
        image: Path,
        photo: NDArray[np.uint8],
        mask: NDArray[np.uint8],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        estimates = []
        monkeypatch.setattr(
            "dsunet_runtime.masks.renderings.foreground",
            lambda *arguments: estimates.append(foreground(*arguments)) or estimates[-1],
        )
        out = tmp_path / "out"
        options = ["--binary", "100", "--cutout", "--background", "#010203", "--overlay"]
        result = predict(frames_artifact, image, "-o", out, *options)
        assert result.exit_code == 0, result.output
        assert names(out) == [
            "photo.png",
            "photo_background.jpg",
            "photo_cutout.png",
            "photo_overlay.jpg",
        ]
        assert len(estimates) == 1  # for the cut-out and the background
        np.testing.assert_array_equal(Image.open(out / "photo.png"), 255 * (mask >= 100))
        np.testing.assert_array_equal(Image.open(out / "photo_cutout.png"), Cutout()(photo, mask))
        others: dict[str, Rendering] = {
            "background": Background(ColourBackdrop((1, 2, 3))),
            "overlay": Overlay(),
        }
        for name, rendering in others.items():
            with Image.open(out / f"photo_{name}.jpg") as drawn:
                expected = rendering(photo, mask).astype(int)
                assert np.abs(expected - np.asarray(drawn)).mean() < 12  # JPEG of noise

    @pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
    def test_colours_keep_their_profile(
        self, frames_artifact: Path, photo: NDArray[np.uint8], tmp_path: Path, suffix: str
    ) -> None:
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        image, out = tmp_path / f"a.{suffix}", tmp_path / "out"
        Image.fromarray(photo).save(image, icc_profile=profile)
        options = ["--cutout", "--background", "red", "--overlay"]
        result = predict(frames_artifact, image, "-o", out, *options)
        assert result.exit_code == 0, result.output
        predict(frames_artifact, image, "-o", out / "a.webp", "--cutout")
        for name in names(out):
            with Image.open(out / name) as drawn:
                assert drawn.info.get("icc_profile") == (None if name == "a.png" else profile)

    @pytest.mark.parametrize(
        ("options", "name", "mode"),
        [
            ("", "x.png", "L"),
            ("--binary otsu", "x.PNG", "L"),
            ("--cutout", "x.webp", "RGBA"),
            ("--cutout webp", "x.webp", "RGBA"),
            ("--cutout", "x.png", "RGBA"),
            ("--background blur", "x.jpeg", "RGB"),
            ("--background red", "x.png", "RGB"),
            ("--overlay", "x.webp", "RGB"),
        ],
    )
    def test_one_into_a_file(
        self, frames_artifact: Path, image: Path, tmp_path: Path, options: str, name: str, mode: str
    ) -> None:
        out = tmp_path / "new" / name
        result = predict(frames_artifact, image, "-o", out, *options.split())
        assert result.exit_code == 0, result.output
        assert names(out.parent) == [name]
        with Image.open(out) as drawn:
            assert (drawn.mode, drawn.size) == (mode, (53, 41))
            formats = {".png": "PNG", ".webp": "WEBP", ".jpeg": "JPEG"}
            assert drawn.format == formats[out.suffix.lower()]

    @pytest.mark.parametrize("options", ["--binary IMAGE", "--cutout IMAGE", "--binary -- IMAGE"])
    def test_an_image_after_an_optional_value_is_an_image(
        self, frames_artifact: Path, image: Path, tmp_path: Path, options: str
    ) -> None:
        words = [str(image) if word == "IMAGE" else word for word in options.split()]
        result = predict("-o", tmp_path / "out", frames_artifact, *words)
        assert result.exit_code == 0, result.output

    @pytest.mark.parametrize("value", [["--binary", "otsu"], ["--binary=otsu"]])
    def test_otsu(
        self,
        frames_artifact: Path,
        image: Path,
        photo: NDArray[np.uint8],
        mask: NDArray[np.uint8],
        tmp_path: Path,
        value: list[str],
    ) -> None:
        assert predict(frames_artifact, image, "-o", tmp_path / "x.png", *value).exit_code == 0
        expected = Binary(None)(photo, mask)
        assert (expected != Binary()(photo, mask)).any()
        np.testing.assert_array_equal(Image.open(tmp_path / "x.png"), expected)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ("-o x.png --cutout --overlay", "x.png is one file, and --cutout and --overlay need"),
            ("-o - --cutout --binary", "--binary and --cutout need one each: name a folder"),
            ("-o x.jpg", "masks are PNG files: name x.png"),
            ("-o x.mp4", "photo.png is read as an image: name an image file, or a folder"),
            ("-o x.jpg --cutout", "cut-outs are PNG or WEBP files: name x.png"),
            ("-o x.png --cutout webp", "cut-outs are WEBP files: name x.webp"),
            ("-o x.tif --overlay", "these images are JPG or PNG or WEBP files: name x.jpg"),
            ("-o x.bmp", "masks are PNG files: name x.png"),
            ("-o x --binary 0", "'0' is neither a level from 1 to 255 nor otsu"),
            ("-o x --binary=256", "'256' is neither a level"),
            ("-o x --binary=٣", "'٣' is neither a level"),
            ("-o x --binary=half", "'half' is neither a level"),
            ("-o x --cutout=jpg", "'jpg' is neither png nor webp"),
            ("-o x --background whit", "'whit' is neither a colour"),
            ("-o x --background x.jpg", "x.jpg: cannot be read: No such file"),
            ("-o - --json", "--json and --output - exclude each other"),
            ("-o - --skip-existing", "--skip-existing and --output - exclude each other"),
            ("-o - --recursive", "--output - is one file, and each image needs one of its own"),
        ],
    )
    def test_refused(self, frames_artifact: Path, image: Path, options: str, message: str) -> None:
        result = predict(frames_artifact, image, *options.split())
        assert (result.exit_code, result.stdout) == (2, "")
        (line,) = result.stderr.splitlines()
        assert message in line

    def test_a_result_over_the_background(
        self, frames_artifact: Path, image: Path, tmp_path: Path
    ) -> None:
        beach = tmp_path / "beach.png"
        Image.new("RGB", (9, 9), "tan").save(beach)
        before = beach.read_bytes()
        result = predict(frames_artifact, image, "--background", beach, "-o", beach)
        assert result.exit_code == 2
        assert f"would overwrite --background {beach}" in result.stderr
        assert beach.read_bytes() == before


class TestNoObject:
    @pytest.fixture
    def grey(self, tmp_path: Path) -> Path:
        path = tmp_path / "grey.png"
        Image.new("RGB", (30, 20), (40, 30, 30)).save(path)
        return path

    def test_probability(
        self, frames_artifact: Path, grey: Path, image: Path, tmp_path: Path
    ) -> None:
        result = predict(frames_artifact, grey, image, "-o", tmp_path / "out")
        highest = artifacts.expected_frames_mask(np.asarray(Image.open(grey))).max()
        assert highest < 128
        assert result.stderr == (
            f"dsunet-run: no object found in grey.png: the highest value is {highest} of 255\n"
        )

    @pytest.mark.parametrize("form", list(MaskForm))
    def test_logits(self, image: Path, tmp_path: Path, form: MaskForm) -> None:
        """A stretched mask reaches 255 whatever its probabilities are."""
        sure = artifacts.tensors(tmp_path / "sure.onnx", mask_form=form)
        result = predict(sure, image, "-o", tmp_path / "out")
        assert (result.exit_code, result.stderr) == (0, "")
        dark = tmp_path / "dark.png"
        pixels = np.zeros((20, 30, 3), np.uint8)
        pixels[:5, :, 1] = 200
        Image.fromarray(pixels).save(dark)
        result = predict(sure, dark, "-o", tmp_path / "out")
        assert "no object found in dark.png: the highest value is " in result.stderr

    def test_a_graph_that_stretches_tells_nothing(self, grey: Path, tmp_path: Path) -> None:
        artifact = artifacts.frames(tmp_path / "model.onnx", mask_form=MaskForm.STRETCHED)
        with Image.open(grey) as image:
            image.putpixel((0, 0), (0, 0, 0))  # so that the lowest level is 0
            image.save(grey)
        result = predict(artifact, grey, "-o", tmp_path / "out")
        assert (result.exit_code, result.stderr) == (0, "")
        assert 0 < np.asarray(Image.open(tmp_path / "out/grey.png")).max() < 128
