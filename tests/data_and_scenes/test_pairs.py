"""Images with their masks: by name, whole, and of one size."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from dsunet.data.pairs import Pair, check_pairs, find_pairs, read_mask
from dsunet.errors import DataError

HALF = np.where(np.arange(40)[None] < 20, 0, 255).astype(np.uint8).repeat(30, axis=0)
"""A mask of 30×40 pixels: its right half is inside."""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return folder(tmp_path / "Imgs")


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    return folder(tmp_path / "GT")


def folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def write_image(path: Path, size: tuple[int, int] = (40, 30), **options: object) -> Path:
    Image.new("RGB", size, (10, 200, 30)).save(path, **options)
    return path


def write_mask(path: Path, mask: Image.Image | None = None) -> Path:
    (mask or Image.fromarray(HALF)).save(path)
    return path


def stems(pairs: list[Pair]) -> list[str]:
    return [pair.stem for pair in pairs]


class TestFinding:
    def test_pairs_by_stem_whatever_the_suffix_sorted(self, images: Path, masks: Path) -> None:
        for name in ("b.JPG", "animal-1.jpeg", "a.b.png"):
            write_image(images / name)
            write_mask((masks / name).with_suffix(".PNG"))
        pairs = find_pairs(images, masks)
        assert stems(pairs) == ["a.b", "animal-1", "b"]
        assert pairs[2] == Pair("b", images / "b.JPG", masks / "b.PNG")

    def test_leaves_other_files_out(self, images: Path, masks: Path) -> None:
        write_image(images / "a.jpg")
        write_mask(masks / "a.png")
        write_mask(masks / ".hidden.png")
        (images / "Thumbs.db").write_bytes(b"")
        folder(masks / "sub")
        assert stems(find_pairs(images, masks)) == ["a"]

    def test_lists_what_is_unpaired(self, images: Path, masks: Path) -> None:
        for name in ("a", "b", "c"):
            write_image(images / f"{name}.jpg")
        for name in ("c", "d"):
            write_mask(masks / f"{name}.png")
        with pytest.raises(
            DataError, match=r": 2 in .*Imgs without one in .*, 1 in .*GT without"
        ) as caught:
            find_pairs(images, masks)
        assert str(caught.value).splitlines()[1:] == [
            "  a.jpg: no mask",
            "  b.jpg: no mask",
            "  d.png: no image",
        ]

    def test_a_long_list_is_cut(self, images: Path, masks: Path) -> None:
        for number in range(30):
            (images / f"{number:02}.jpg").touch()
        write_mask(masks / "00.png")
        with pytest.raises(DataError) as caught:
            find_pairs(images, masks)
        lines = str(caught.value).splitlines()
        assert len(lines) == 22
        assert lines[-1] == "  and 9 more"

    def test_two_files_of_one_stem(self, images: Path, masks: Path) -> None:
        write_image(images / "a.jpg")
        write_image(images / "a.png")
        write_mask(masks / "a.png")
        with pytest.raises(DataError, match=r"(?s)Imgs: 1 names are there twice.*a.jpg and a.png"):
            find_pairs(images, masks)

    @pytest.mark.parametrize("prepare", [Path.touch, Path.mkdir, lambda path: None])
    def test_folders_that_hold_none(self, images: Path, tmp_path: Path, prepare: object) -> None:
        write_image(images / "a.jpg")
        masks = tmp_path / "masks"
        prepare(masks)  # type: ignore[operator]
        with pytest.raises(DataError, match=r"masks: (is no folder|no images in this folder)"):
            find_pairs(images, masks)

    def test_cod10k_without_what_is_not_camouflaged(self, images: Path, masks: Path) -> None:
        for name in ("COD10K-CAM-1-Aquatic-1-BatFish-1", "COD10K-NonCAM-3-Flying-1515"):
            write_image(images / f"{name}.jpg")
        write_mask(masks / "COD10K-CAM-1-Aquatic-1-BatFish-1.png")
        assert stems(find_pairs(images, masks)) == ["COD10K-CAM-1-Aquatic-1-BatFish-1"]


class TestSharedMasks:
    """CAMO's GT belongs to Images/Train and to Images/Test."""

    @pytest.fixture
    def camo(self, tmp_path: Path) -> Path:
        for split, name in (("Train", "camourflage_00001"), ("Test", "camourflage_00012")):
            folder(tmp_path / "CAMO/Images" / split)
            write_image(tmp_path / "CAMO/Images" / split / f"{name}.jpg")
        folder(tmp_path / "CAMO/GT")
        for number in ("00001", "00012"):
            write_mask(tmp_path / "CAMO/GT" / f"camourflage_{number}.png")
        return tmp_path / "CAMO"

    @pytest.mark.parametrize(
        ("split", "stem"), [("Train", "camourflage_00001"), ("Test", "camourflage_00012")]
    )
    def test_masks_of_the_other_split_are_left_out(self, camo: Path, split: str, stem: str) -> None:
        assert stems(find_pairs(camo / "Images" / split, camo / "GT")) == [stem]

    def test_a_mask_of_neither_is_a_fault(self, camo: Path) -> None:
        write_mask(camo / "GT/x.png")
        with pytest.raises(DataError, match=r"(?s)x\.png: no image") as caught:
            find_pairs(camo / "Images/Train", camo / "GT")
        assert "camourflage" not in str(caught.value)

    def test_not_where_each_split_has_its_own(self, tmp_path: Path) -> None:
        for split, name in (("train", "a"), ("test", "b")):
            write_image(folder(tmp_path / "images" / split) / f"{name}.jpg")
            write_mask(folder(tmp_path / "masks" / split) / f"{name}.png")
        write_mask(tmp_path / "masks/train/b.png")
        with pytest.raises(DataError, match=r"b\.png: no image"):
            find_pairs(tmp_path / "images/train", tmp_path / "masks/train")


class TestChecking:
    def test_good_pairs_and_an_empty_mask_pass(self, images: Path, masks: Path) -> None:
        for name in ("a", "b"):
            write_image(images / f"{name}.jpg")
        write_mask(masks / "a.png")
        write_mask(masks / "b.png", Image.new("L", (40, 30)))
        stream = Terminal()
        check_pairs(find_pairs(images, masks), stream)
        assert "2/2" in stream.getvalue()

    def test_lists_every_fault(self, images: Path, masks: Path) -> None:
        for name in ("a", "b", "c", "d"):
            write_image(images / f"{name}.jpg")
            write_mask(masks / f"{name}.png")
        noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(images / "a.jpg")
        cut_in_half(images / "a.jpg")
        (masks / "b.png").write_bytes(b"none")
        write_mask(masks / "c.png", Image.new("L", (41, 30)))
        with pytest.raises(DataError, match="not all of the 4 images") as caught:
            check_pairs(find_pairs(images, masks), io.StringIO())
        first, second, third = str(caught.value).splitlines()[1:]
        assert "a.jpg: damaged" in first
        assert "b.png: not an image" in second
        assert "c.jpg: is 40×30 pixels, its mask 41×30" in third
        assert "EXIF" not in third

    def test_names_an_image_that_exif_turns_and_its_mask_that_is_not_turned(
        self, images: Path, masks: Path
    ) -> None:
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 6
        write_image(images / "a.jpg", exif=exif)
        write_mask(masks / "a.png")
        with pytest.raises(DataError, match=r"is 30×40 pixels, its mask 40×30: EXIF turns the im"):
            check_pairs(find_pairs(images, masks), io.StringIO())
        write_mask(masks / "a.png", Image.fromarray(HALF).rotate(90, expand=True))
        check_pairs(find_pairs(images, masks), io.StringIO())

    def test_nothing_to_check(self) -> None:
        with pytest.raises(DataError, match="no images"):
            check_pairs([])


class TestReadingMasks:
    @pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
    def test_the_same_in_every_mode(self, tmp_path: Path, mode: str) -> None:
        path = write_mask(tmp_path / "a.png", Image.fromarray(HALF).convert(mode))
        mask = read_mask(path)
        assert mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, HALF)

    def test_grey_levels_are_kept(self, tmp_path: Path) -> None:
        grey = np.arange(1200, dtype=np.uint8).reshape(30, 40)
        np.testing.assert_array_equal(
            read_mask(write_mask(tmp_path / "a.png", Image.fromarray(grey))), grey
        )

    def test_16_bits_keep_the_high_byte(self, tmp_path: Path) -> None:
        wide = Image.fromarray(HALF.astype(np.uint16) * 257)
        np.testing.assert_array_equal(read_mask(write_mask(tmp_path / "a.png", wide)), HALF)

    def test_a_palette_in_any_order(self, tmp_path: Path) -> None:
        image = Image.fromarray((HALF == 0).astype(np.uint8), "P")
        image.putpalette([255, 255, 255, 0, 0, 0])
        np.testing.assert_array_equal(read_mask(write_mask(tmp_path / "a.png", image)), HALF)

    def test_a_grey_jpeg_of_three_channels(self, tmp_path: Path) -> None:
        Image.fromarray(HALF).convert("RGB").save(tmp_path / "a.jpg", quality=70)
        mask = read_mask(tmp_path / "a.jpg").astype(int)
        assert np.abs(mask - HALF).max() < 40  # JPEG rings at the edge
        np.testing.assert_array_equal(mask > 128, HALF > 128)

    def test_an_empty_mask(self, tmp_path: Path) -> None:
        assert not read_mask(write_mask(tmp_path / "a.png", Image.new("L", (40, 30)))).any()

    @pytest.mark.parametrize(
        ("image", "complaint"),
        [
            (Image.fromarray(HALF // 255), "values are 0 and 1: multiply"),
            (Image.fromarray(HALF.astype(np.uint16)), "16 bits, but its highest value is 255"),
            (Image.merge("RGB", [Image.fromarray(HALF), *[Image.new("L", (40, 30))] * 2]), "colou"),
            (
                Image.merge("LA", [Image.new("L", (40, 30), 255), Image.fromarray(HALF)]),
                "transparent pixels",
            ),
        ],
        ids=["0 and 1", "bytes in 16 bits", "coloured", "transparent"],
    )
    def test_refuses_to_guess(self, tmp_path: Path, image: Image.Image, complaint: str) -> None:
        path = write_mask(tmp_path / "a.png", image)
        with pytest.raises(DataError, match=complaint) as caught:
            read_mask(path)
        assert str(caught.value).startswith(f"{path}: ")

    def test_refuses_what_cannot_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"a\.png: cannot be read: No such file"):
            read_mask(tmp_path / "a.png")
        noise = np.random.default_rng(0).integers(0, 256, (30, 40), dtype=np.uint8)
        cut_in_half(write_mask(tmp_path / "b.png", Image.fromarray(noise)))
        with pytest.raises(DataError, match=r"b\.png: cannot be read: .*truncated"):
            read_mask(tmp_path / "b.png")
        Image.fromarray(HALF.astype(np.float32)).save(tmp_path / "c.tif")
        with pytest.raises(DataError, match=r"c\.tif: cannot be read: floating-point"):
            read_mask(tmp_path / "c.tif")


def cut_in_half(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
