"""The meaning of mask files; ambiguous ones are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from dsunet.data.image_files import read_image, read_mask, read_prediction
from dsunet.errors import DataError
from tests.data_and_scenes.folders import (
    LEFT_HALF,
    cut_in_half,
    turned,
    write_image,
    write_mask,
)

Reader = Callable[[Path], NDArray[np.uint8]]


class TestReadingMasks:
    @pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
    def test_the_same_in_every_mode(self, tmp_path: Path, mode: str) -> None:
        path = write_mask(tmp_path / "a.png", Image.fromarray(LEFT_HALF).convert(mode))
        mask = read_mask(path)
        assert mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, LEFT_HALF)

    def test_grey_levels_are_kept(self, tmp_path: Path) -> None:
        grey = np.arange(1200, dtype=np.uint8).reshape(30, 40)
        np.testing.assert_array_equal(
            read_mask(write_mask(tmp_path / "a.png", Image.fromarray(grey))), grey
        )

    def test_16_bits_keep_the_high_byte(self, tmp_path: Path) -> None:
        wide = Image.fromarray(LEFT_HALF.astype(np.uint16) * 257)
        np.testing.assert_array_equal(read_mask(write_mask(tmp_path / "a.png", wide)), LEFT_HALF)

    def test_a_palette_in_any_order(self, tmp_path: Path) -> None:
        image = Image.fromarray((LEFT_HALF == 0).astype(np.uint8), "P")
        image.putpalette([255, 255, 255, 0, 0, 0])
        np.testing.assert_array_equal(read_mask(write_mask(tmp_path / "a.png", image)), LEFT_HALF)

    def test_a_grey_jpeg_of_three_channels(self, tmp_path: Path) -> None:
        Image.fromarray(LEFT_HALF).convert("RGB").save(tmp_path / "a.jpg", quality=70)
        mask = read_mask(tmp_path / "a.jpg").astype(int)
        assert np.abs(mask - LEFT_HALF).max() < 40  # JPEG rings at the edge
        np.testing.assert_array_equal(mask > 128, LEFT_HALF > 128)

    def test_an_empty_mask(self, tmp_path: Path) -> None:
        assert not read_mask(write_mask(tmp_path / "a.png", Image.new("L", (40, 30)))).any()

    @pytest.mark.parametrize(
        ("image", "complaint"),
        [
            (Image.fromarray(LEFT_HALF.astype(np.uint16)), "16 bits, but no value above 255"),
            (
                Image.merge("RGB", [Image.fromarray(LEFT_HALF), *[Image.new("L", (40, 30))] * 2]),
                "colou",
            ),
            (
                Image.merge("LA", [Image.new("L", (40, 30), 255), Image.fromarray(LEFT_HALF)]),
                "transparent pixels",
            ),
        ],
        ids=["bytes in 16 bits", "coloured", "transparent"],
    )
    @pytest.mark.parametrize("read", [read_mask, read_prediction])
    def test_refuses_to_guess(
        self, tmp_path: Path, image: Image.Image, complaint: str, read: Reader
    ) -> None:
        path = write_mask(tmp_path / "a.png", image)
        with pytest.raises(DataError, match=complaint) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: ")

    def test_refuses_what_cannot_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"a\.png: cannot be read: No such file"):
            read_mask(tmp_path / "a.png")
        noise = np.random.default_rng(0).integers(0, 256, (30, 40), dtype=np.uint8)
        cut_in_half(write_mask(tmp_path / "b.png", Image.fromarray(noise)))
        with pytest.raises(DataError, match=r"b\.png: damaged.*truncated"):
            read_mask(tmp_path / "b.png")
        Image.fromarray(LEFT_HALF.astype(np.float32)).save(tmp_path / "c.tif")
        with pytest.raises(DataError, match=r"c\.tif: floating-point"):
            read_mask(tmp_path / "c.tif")


def blocks(*values: int, dtype: type = np.uint8) -> Image.Image:
    """Columns of equal width, each of one value."""
    return Image.fromarray(np.repeat(np.array(values, dtype), 8)[None].repeat(20, axis=0))


class TestLabels:
    """Masks that hold class or object labels instead of grey levels."""

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ([0, 1], "its values are 0 and 1"),
            ([0, 2], "its values are 0 and 2"),
            ([0, 1, 2], "its values are 0, 1 and 2"),
            ([1, 2, 3], "its values are 1, 2 and 3"),
            ([0, 128], "its values are 0 and 128"),
            ([1], "all of it is 1"),
            (list(range(0, 100, 5)), "its values are 0 to 95"),
        ],
    )
    def test_nothing_would_be_inside(self, tmp_path: Path, values: list[int], words: str) -> None:
        path = write_mask(tmp_path / "a.png", blocks(*values))
        with pytest.raises(DataError) as caught:
            read_mask(path)
        assert str(caught.value) == (
            f"{path}: {words}, none above 128, so that the mask would be empty: save it as a "
            "grey image, 0 outside the object and 255 inside"
        )

    @pytest.mark.parametrize("values", [[0, 15, 255], [0, 1, 2, 20, 255], [7, 255]])
    def test_labels_with_a_border_to_ignore(self, tmp_path: Path, values: list[int]) -> None:
        path = write_mask(tmp_path / "a.png", blocks(*values))
        with pytest.raises(DataError, match="as class labels with an ignored border have: save it"):
            read_mask(path)

    def test_pascal_voc_with_its_colours(self, tmp_path: Path) -> None:
        image = blocks(0, 15, 255).convert("P")
        labels = Image.fromarray(np.asarray(blocks(0, 15, 255)), "P")
        labels.putpalette([0, 0, 0] + [0] * 42 + [192, 128, 128] + [0] * 717 + [224, 224, 192])
        assert image.mode == labels.mode == "P"
        with pytest.raises(DataError, match="has coloured pixels"):
            read_mask(write_mask(tmp_path / "a.png", labels))

    @pytest.mark.parametrize("values", [[0, 1, 2], [0, 1000, 26001]])
    def test_labels_of_16_bits(self, tmp_path: Path, values: list[int]) -> None:
        path = write_mask(tmp_path / "a.png", blocks(*values, dtype=np.uint16))
        with pytest.raises(DataError, match=r"no value above 2|none above 33023, so that"):
            read_mask(path)

    @pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ([0, 1, 65535], "its values are 0, 1 and 65535"),
            ([0, 1, 40000], "its values are 0, 1 and 40000"),
            ([0, 300, 65535], "its values are 0, 300 and 65535"),
            ([0, 1, 2, 3, 40000, 65535], "its values are 0, 1, 2, 3, 40000 and 65535"),
            ([7, 20, 65280, 65535], "its values are 7, 20, 65280 and 65535"),
        ],
    )
    def test_labels_of_16_bits_with_a_border(
        self, tmp_path: Path, values: list[int], words: str, suffix: str
    ) -> None:
        path = tmp_path / f"a.{suffix}"
        blocks(*values, dtype=np.uint16).save(path)
        with pytest.raises(DataError, match=f"{words}, as class labels with an ignored border"):
            read_mask(path)

    def test_labels_of_12_bits_with_a_border(self, tmp_path: Path) -> None:
        labels = np.asarray(blocks(0, 1, 4095, dtype=np.uint16))
        data = labels.astype(">u2").tobytes()
        height, width = labels.shape
        (tmp_path / "a.pgm").write_bytes(b"P5 %d %d 4095\n" % (width, height) + data)
        with pytest.raises(DataError, match="as class labels with an ignored border"):
            read_mask(tmp_path / "a.pgm")

    @pytest.mark.parametrize(
        "values",
        [
            [0, 65535],
            [0, 40000],
            [0, 5376, 65535],  # one of twelve annotators
            [0, 1, 300, 9000, 40000, 65535],
            [0, 300, 40000, 65535],
            list(range(0, 65536, 500)),
        ],
    )
    def test_levels_of_16_bits_keep_the_high_byte(self, tmp_path: Path, values: list[int]) -> None:
        image = blocks(*values, dtype=np.uint16)
        mask = read_mask(write_mask(tmp_path / "a.png", image))
        np.testing.assert_array_equal(mask, np.asarray(image) >> 8)

    def test_a_few_stray_pixels_of_16_bits_are_no_labels(self, tmp_path: Path) -> None:
        mask = LEFT_HALF.astype(np.uint16) * 257
        mask[3, :5] = 1
        np.testing.assert_array_equal(
            read_mask(write_mask(tmp_path / "a.png", Image.fromarray(mask))), mask >> 8
        )

    @pytest.mark.parametrize(
        "values",
        [
            [0],
            [255],
            [0, 129],
            [0, 200],
            [0, 21, 255],  # PASCAL-S: one of twelve annotators, and all
            [0, 128, 255],
            [0, 64, 128, 191, 255],
            [0, 3, 30, 140, 252, 255],
        ],
    )
    def test_levels_are_kept(self, tmp_path: Path, values: list[int]) -> None:
        image = blocks(*values)
        mask = read_mask(write_mask(tmp_path / "a.png", image))
        np.testing.assert_array_equal(mask, np.asarray(image))

    def test_a_few_stray_pixels_are_no_labels(self, tmp_path: Path) -> None:
        mask = LEFT_HALF.copy()
        mask[3, :5] = 1
        np.testing.assert_array_equal(
            read_mask(write_mask(tmp_path / "a.png", Image.fromarray(mask))), mask
        )

    @pytest.mark.parametrize("header", [b"P6 40 30 16383\n", b"P6 40 30 4095\n"])
    def test_colour_of_16_bits_would_hide_labels(self, tmp_path: Path, header: bytes) -> None:
        wide = np.repeat(LEFT_HALF[..., None], 3, axis=2).astype(">u2") * 16
        (tmp_path / "a.ppm").write_bytes(header + wide.astype(">u2").tobytes())
        with pytest.raises(DataError, match=r"has 16 bits a channel, .*: save it as a grey"):
            read_mask(tmp_path / "a.ppm")

    def test_a_turned_mask_of_16_bits(self, tmp_path: Path) -> None:
        path = tmp_path / "a.png"
        blocks(0, 1, 65535, dtype=np.uint16).save(path, exif=turned(6))
        with pytest.raises(DataError, match="its values are 0, 1 and 65535"):
            read_mask(path)

    def test_white_is_zero_in_16_bits(self, tmp_path: Path) -> None:
        directory = TiffImagePlugin.ImageFileDirectory_v2()
        directory[262] = 0  # PhotometricInterpretation
        inverted = Image.fromarray((255 - LEFT_HALF).astype(np.uint16) * 257)
        inverted.save(tmp_path / "a.tif", tiffinfo=directory)
        np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), LEFT_HALF)

    @pytest.mark.parametrize("quality", [30, 75, 95, 100])
    def test_masks_as_jpeg(self, tmp_path: Path, quality: int) -> None:
        rows, columns = np.mgrid[:100, :120]
        disc = np.where((rows - 50) ** 2 + (columns - 60) ** 2 < 900, 255, 0).astype(np.uint8)
        Image.fromarray(disc).save(tmp_path / "a.jpg", quality=quality)
        np.testing.assert_array_equal(read_mask(tmp_path / "a.jpg") > 128, disc > 128)

    def test_a_prediction_alone_is_ambiguous(self, tmp_path: Path) -> None:
        faint = blocks(0, 1, 2)
        prediction = read_prediction(write_mask(tmp_path / "a.png", faint))
        np.testing.assert_array_equal(prediction, np.asarray(faint))


def test_grey_of_colour_files_is_opencvs(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (30, 40), dtype=np.uint8)
    path = write_mask(tmp_path / "a.png", Image.fromarray(grey).convert("RGB"))
    np.testing.assert_array_equal(
        read_prediction(path),
        cv2.imread(str(path), cv2.IMREAD_GRAYSCALE),  # type: ignore[arg-type]
    )


def test_images_name_their_file(tmp_path: Path) -> None:
    assert read_image(write_image(tmp_path / "a.png")).shape == (30, 40, 3)
    with pytest.raises(DataError, match=r"b\.png: cannot be read: No such file"):
        read_image(tmp_path / "b.png")
