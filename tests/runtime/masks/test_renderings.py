"""What is made of an image and its mask, against definitions and known objects."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dsunet_runtime import ImageError, MissingExtraError
from dsunet_runtime.masks import foreground as foreground_module
from dsunet_runtime.masks.backdrops import (
    BlurBackdrop,
    ColourBackdrop,
    ImageBackdrop,
    parse_backdrop,
)
from dsunet_runtime.masks.foreground import foreground, opacity
from dsunet_runtime.masks.renderings import (
    Background,
    Binary,
    Cutout,
    Mask,
    Overlay,
    Rendering,
    draw_renderings,
    otsu,
)

Pixels = NDArray[np.uint8]
SIDE = 128
RENDERINGS = [
    Mask(),
    Binary(),
    Binary(None),
    Cutout(),
    Background(ColourBackdrop((1, 2, 3))),
    Background(BlurBackdrop()),
    Background(ImageBackdrop(np.full((3, 5, 3), 7, np.uint8))),
    Overlay(),
]


def texture(seed: int, colour: tuple[int, int, int]) -> NDArray[np.float64]:
    """Smooth variations of a colour, SIDE×SIDE×3, 0 to 255."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    smooth = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.clip(colour + 0.3 * (np.asarray(smooth, float) - 128), 0, 255)


@pytest.fixture(scope="module")
def scene() -> tuple[NDArray[np.float64], Pixels, Pixels]:
    """An orange disk with a soft edge of ten pixels before blue: its colours, image and mask."""
    rows, columns = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    alpha = np.clip((45 - np.hypot(rows, columns)) / 10, 0, 1)
    mask = np.round(255 * alpha).astype(np.uint8)
    inside, outside = texture(1, (220, 120, 40)), texture(2, (30, 110, 200))
    weight = mask[..., None] / 255
    return inside, np.round(inside * weight + outside * (1 - weight)).astype(np.uint8), mask


def at_edge(mask: Pixels) -> NDArray[np.bool_]:
    return (mask > 25) & (mask < 230)


class TestCutout:
    def test_colours_are_those_of_the_object(
        self, scene: tuple[NDArray[np.float64], Pixels, Pixels]
    ) -> None:
        inside, image, mask = scene
        cutout = Cutout()(image, mask)
        np.testing.assert_array_equal(cutout[..., 3], opacity(mask))
        edge = at_edge(mask)
        before = np.abs(image[edge] - inside[edge]).mean()
        after = np.abs(cutout[..., :3][edge] - inside[edge]).mean()
        assert before > 50
        assert after < before / 7
        np.testing.assert_array_equal(cutout[mask == 255][:, :3], image[mask == 255])

    def test_no_haze_of_low_probabilities(
        self, scene: tuple[NDArray[np.float64], Pixels, Pixels]
    ) -> None:
        _, image, mask = scene
        uncertain = mask.clip(12, 243)
        np.testing.assert_array_equal(Cutout()(image, uncertain), Cutout()(image, mask))
        for background in (Background(ColourBackdrop((255, 255, 255))), Background(BlurBackdrop())):
            np.testing.assert_array_equal(background(image, uncertain), background(image, mask))

    def test_opacity(self) -> None:
        """Black up to 5 %, white from 95 %, a straight line between, with its middle in place."""
        levels = opacity(np.arange(256, dtype=np.uint8)).astype(int)
        assert (levels[:14] == 0).all()
        assert (levels[242:] == 255).all()
        assert set(np.diff(levels[13:243])) == {1, 2}
        assert {levels[127], levels[128]} == {127, 128}

    def test_no_halo_over_another_background(
        self, scene: tuple[NDArray[np.float64], Pixels, Pixels]
    ) -> None:
        inside, image, mask = scene
        weight = mask[..., None] / 255
        edge = at_edge(mask)
        expected = inside * weight + 255 * (1 - weight)
        with_halo = image * weight + 255 * (1 - weight)
        drawn = Background(ColourBackdrop((255, 255, 255)))(image, mask)
        assert np.abs(with_halo - expected)[edge].mean() > 20
        assert np.abs(drawn - expected)[edge].mean() < 5
        assert (drawn[mask == 0] == 255).all()

    def test_nothing_of_the_background_is_under_the_transparency(
        self, scene: tuple[NDArray[np.float64], Pixels, Pixels]
    ) -> None:
        _, image, mask = scene
        hidden = Cutout()(image, mask)[mask == 0][:, :3].astype(int)
        assert (hidden[:, 2] <= 150).all()  # the background has 162 and more of blue
        assert not Cutout()(image, np.zeros_like(mask)).any()

    def test_only_the_objects_place_is_computed(
        self, photo: Pixels, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mask = np.zeros(photo.shape[:2], np.uint8)
        mask[10:20, 30:35] = 200
        whole = foreground_module._estimated(photo, mask)
        shapes = []

        def estimated(rgb: Pixels, alpha: Pixels) -> Pixels:
            shapes.append(alpha.shape)
            return whole[8:22, 28:37]

        monkeypatch.setattr(foreground_module, "_estimated", estimated)
        colours = foreground(photo, mask)
        assert shapes == [(14, 9)]
        np.testing.assert_array_equal(colours[8:22, 28:37], whole[8:22, 28:37])

    def test_several_are_drawn_from_one_estimate(
        self, photo: Pixels, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mask = np.random.default_rng(0).integers(0, 256, photo.shape[:2], np.uint8)
        expected = [rendering(photo, mask) for rendering in RENDERINGS]
        estimated, calls = foreground_module._estimated, []

        def counted(rgb: Pixels, alpha: Pixels) -> Pixels:
            calls.append(alpha.shape)
            return estimated(rgb, alpha)

        monkeypatch.setattr(foreground_module, "_estimated", counted)
        for one, wanted in zip(draw_renderings(RENDERINGS, photo, mask), expected, strict=True):
            np.testing.assert_array_equal(one, wanted)
        assert calls == [mask.shape]

    def test_without_the_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        foreground_module._estimator.cache_clear()
        monkeypatch.delitem(sys.modules, foreground_module._MODULE, raising=False)
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(MissingExtraError, match=r"pymatting is not installed: .*\[cutout\]"):
            Cutout()(np.zeros((2, 2, 3), np.uint8), np.full((2, 2), 99, np.uint8))

    def test_one_module_is_compiled_and_the_package_works_after_it(self) -> None:
        """Compiling the whole package takes a minute: here its functions stay Python."""
        environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
        code = """
import sys
from dsunet_runtime.masks.foreground import check_installed
check_installed()
assert "pymatting.laplacian" not in sys.modules
from pymatting import estimate_foreground_ml
assert estimate_foreground_ml is sys.modules["%s"].estimate_foreground_ml
"""
        code %= foreground_module._MODULE
        subprocess.run([sys.executable, "-c", code], env=environment, check=True)


@pytest.mark.parametrize("rendering", RENDERINGS, ids=lambda rendering: repr(rendering)[:40])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2), (33, 40)], ids=str)
def test_every_size_and_mask(rendering: Rendering, size: tuple[int, int]) -> None:
    generator = np.random.default_rng(0)
    rgb = generator.integers(0, 256, (*size, 3), np.uint8)
    copy = pickle.loads(pickle.dumps(rendering))
    for mask in (
        np.zeros(size, np.uint8),
        np.full(size, 255, np.uint8),
        generator.integers(0, 256, size, np.uint8),
    ):
        before = rgb.copy(), mask.copy()
        drawn = rendering(rgb, mask)
        assert drawn.dtype == np.uint8
        assert drawn.shape == (size if rendering.channels == 1 else (*size, rendering.channels))
        np.testing.assert_array_equal(copy(rgb, mask), drawn)
        np.testing.assert_array_equal(rgb, before[0])
        np.testing.assert_array_equal(mask, before[1])


class TestBinary:
    def test_levels_at_the_threshold_are_inside(self) -> None:
        levels = np.arange(256, dtype=np.uint8)[None]
        rgb = np.zeros((1, 256, 3), np.uint8)
        for threshold in (1, 100, 128, 255):
            assert (Binary(threshold)(rgb, levels) == 255 * (levels >= threshold)).all()

    @pytest.mark.parametrize("seed", range(20))
    def test_otsu_against_the_definition_and_opencv(self, seed: int) -> None:
        generator = np.random.default_rng(seed)
        dark = generator.normal(generator.integers(0, 120), 20, 300)
        bright = generator.normal(generator.integers(130, 256), 30, generator.integers(1, 300))
        mask = np.concatenate([dark, bright]).clip(0, 255).astype(np.uint8)[None]
        variances = []
        for threshold in range(1, 256):
            classes = mask[mask < threshold], mask[mask >= threshold]
            means = [one.mean() if one.size else mask.mean() for one in classes]
            sizes = [one.size for one in classes]
            variances.append(
                sum(n * (mean - mask.mean()) ** 2 for n, mean in zip(sizes, means, strict=True))
            )
        assert np.isclose(variances[otsu(mask) - 1], max(variances), rtol=1e-12)
        opencv, _ = cv2.threshold(mask, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
        assert otsu(mask) == opencv + 1  # pixels above OpenCV's threshold are inside

    def test_otsu_of_two_levels_and_of_one(self) -> None:
        assert otsu(np.array([[3, 9]], np.uint8)) == 4
        assert otsu(np.full((2, 2), 7, np.uint8)) == 128

    def test_otsu_of_many_pixels(self) -> None:
        """Products of counts exceed 32 bits."""
        mask = np.zeros((5000, 5000), np.uint8)
        mask[:, 2500:] = 200
        mask[:, 2400:2500] = 30
        assert otsu(mask) == 31


class TestBackgrounds:
    @pytest.mark.parametrize(
        ("text", "colour"),
        [("white", (255, 255, 255)), ("#20A040", (32, 160, 64)), ("hsl(0,100%,50%)", (255, 0, 0))],
    )
    def test_colours(self, text: str, colour: tuple[int, int, int]) -> None:
        assert parse_backdrop(text) == ColourBackdrop(colour)

    def test_a_file_is_an_image_even_if_its_name_is_a_colour(
        self, tmp_path: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(str(tmp_path))
        Image.new("RGB", (2, 2), "blue").save("red", "PNG")
        assert isinstance(parse_backdrop("red"), ImageBackdrop)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("whit", "'whit' is neither a colour .* nor an image file, nor blur"),
            ("beach.jpg", r"beach\.jpg: cannot be read: No such file"),
            ("#12", "'#12' is neither a colour"),
        ],
    )
    def test_what_is_none_of_them(self, text: str, message: str) -> None:
        with pytest.raises(ImageError, match=message):
            parse_backdrop(text)

    @pytest.mark.parametrize("size", [(20, 40), (40, 20), (7, 7)])
    def test_an_image_fills_without_distortion(self, size: tuple[int, int]) -> None:
        """Of four equal quarters, the middle stays in the middle."""
        quarters = np.zeros((60, 100, 3), np.uint8)
        quarters[:30, :50] = 255
        quarters[30:, 50:] = 255
        rgb, mask = np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8)
        drawn = Background(ImageBackdrop(quarters))(rgb, mask)
        height, width = size
        assert drawn[: height // 3, : width // 3].min() > 240
        assert drawn[-(height // 3) :, -(width // 3) :].min() > 240
        assert drawn[: height // 3, -(width // 3) :].max() < 15

    def test_the_object_is_not_in_the_blur(self) -> None:
        """A red object before a blue wall: the wall stays blue beside it."""
        rgb = np.zeros((120, 200, 3), np.uint8)
        rgb[..., 2] = 200
        mask = np.zeros((120, 200), np.uint8)
        mask[30:90, 60:140] = 255
        rgb[mask == 255] = 255, 0, 0
        np.testing.assert_array_equal(
            BlurBackdrop().draw(rgb, mask)[mask == 0], np.broadcast_to((0, 0, 200), (19200, 3))
        )

    def test_the_blur_is_a_gaussian(self) -> None:
        """Against OpenCV's, away from the border."""
        rgb = np.random.default_rng(0).integers(0, 256, (400, 600, 3), np.uint8)
        rgb = cv2.GaussianBlur(rgb, (0, 0), 4)
        blurred = BlurBackdrop().draw(rgb, np.zeros((400, 600), np.uint8)).astype(float)
        expected = cv2.GaussianBlur(rgb, (0, 0), 600 / 50)
        inner = np.s_[50:-50, 50:-50]
        assert rgb[inner].std() > 2 * expected[inner].std()
        assert np.abs(blurred[inner] - expected[inner]).max() <= 3
