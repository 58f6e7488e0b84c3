"""Checks of images and masks: all defects are found and reported together."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dsunet.data.checks import check_pairs
from dsunet.data.pairs import find_pairs
from dsunet.errors import DataError
from tests.data_and_scenes.folders import (
    LEFT_HALF,
    cut_in_half,
    folder,
    found,
    turned,
    write_image,
    write_mask,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def notes(images: Path, masks: Path) -> list[str]:
    """The lines that the check of two folders prints."""
    pairing = find_pairs(images, masks)
    stream = io.StringIO()
    check_pairs(pairing.pairs, stream, defects=pairing.defects, notes=pairing.notes)
    return stream.getvalue().splitlines()


def complaint(images: Path, masks: Path) -> list[str]:
    with pytest.raises(DataError) as caught:
        notes(images, masks)
    first, *lines = str(caught.value).splitlines()
    assert first == "the images and masks cannot be used:"
    return lines


def test_good_pairs_and_an_empty_mask_pass(images: Path, masks: Path) -> None:
    for name in ("a", "b"):
        write_image(images / f"{name}.jpg")
    write_mask(masks / "a.png")
    write_mask(masks / "b.png", Image.new("L", (40, 30)))
    stream = Terminal()
    check_pairs(found(images, masks), stream)
    assert "2/2" in stream.getvalue()
    assert notes(images, masks) == []


def test_all_defects_are_listed_at_once(images: Path, masks: Path) -> None:
    for name in ("a", "b", "c", "d", "e", "lone"):
        write_image(images / f"{name}.jpg")
        write_mask(masks / f"{name}.png")
    (masks / "lone.png").unlink()
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(images / "a.jpg")
    cut_in_half(images / "a.jpg")
    (masks / "b.png").write_bytes(b"none")
    write_mask(masks / "c.png", Image.new("L", (50, 30)))
    (images / "d.jpg").unlink()
    (images / "d.jpg").symlink_to("nowhere.jpg")
    write_image(images / "e.jpg", exif=turned(3))
    lines = complaint(images, masks)
    headings = [line for line in lines if not line.startswith("    ")]
    assert [heading.split(";")[0] for heading in headings] == [
        "  1 without a partner of the same name",
        "  1 broken links",
        "  2 that cannot be read",
        "  1 of another size than their masks",
        "  1 that EXIF rotates, but not their masks, which match either way",
    ]
    items = [line.strip() for line in lines if line.startswith("    ")]
    assert items[0] == f"{images / 'lone.jpg'}: no mask in {masks}"
    assert items[1] == str(images / "d.jpg")
    assert items[2].startswith(f"{images / 'a.jpg'}: damaged")
    assert items[3].startswith(f"{masks / 'b.png'}: not an image")
    assert items[4] == f"{images / 'c.jpg'}: is 40×30 pixels, its mask 50×30"
    assert items[5] == f"{images / 'e.jpg'}: orientation 3, of its mask 1"


def test_long_lists_are_cut_kind_by_kind(images: Path, masks: Path) -> None:
    for number in range(30):
        write_image(images / f"{number:02}.jpg")
        write_mask(masks / f"{number:02}.png", Image.fromarray(LEFT_HALF // 255))
    for number in range(40):
        write_mask(masks / f"lone{number:02}.png")
    lines = complaint(images, masks)
    assert len(lines) == 2 * 22
    assert lines[21] == "    and 20 more"
    assert lines[-1] == "    and 10 more"


def test_a_pipe_a_device_a_loop_and_a_folder(images: Path, masks: Path) -> None:
    for name in ("pipe", "zero", "loop", "folder"):
        write_mask(masks / f"{name}.png")
    os.mkfifo(images / "pipe.png")
    (images / "zero.png").symlink_to("/dev/zero")
    (images / "loop.png").symlink_to("loop.png")
    folder(images / "folder.png")
    lines = complaint(images, masks)
    assert len(lines) == 2 + 4
    assert lines[1] == f"    {images / 'loop.png'}"


def test_nothing_to_check() -> None:
    with pytest.raises(DataError, match="no images"):
        check_pairs([])


class TestOrientation:
    @pytest.mark.parametrize("orientation", [5, 6, 7, 8])
    def test_a_quarter_shows_in_the_sizes(
        self, images: Path, masks: Path, orientation: int
    ) -> None:
        write_image(images / "a.jpg", exif=turned(orientation))
        write_mask(masks / "a.png")
        heading, line = complaint(images, masks)
        assert heading.endswith("; rotate the other too, or remove the EXIF tag:")
        assert line.endswith(
            "is 30×40 pixels, its mask 40×30: EXIF rotates the image but not the mask"
        )
        write_mask(masks / "a.png", Image.fromarray(LEFT_HALF).rotate(90, expand=True))
        assert notes(images, masks) == []

    @pytest.mark.parametrize("orientation", [2, 3, 4])
    def test_what_does_not_show_in_the_sizes_is_refused(
        self, images: Path, masks: Path, orientation: int
    ) -> None:
        write_image(images / "a.jpg", exif=turned(orientation))
        write_mask(masks / "a.png")
        heading, line = complaint(images, masks)
        assert "`mogrify -auto-orient FILE`" in heading
        assert "`exiftool -Orientation= FILE`" in heading
        assert line.endswith(f"a.jpg: orientation {orientation}, of its mask 1")
        write_mask(masks / "a.png", exif=turned(orientation))
        assert notes(images, masks) == []

    @pytest.mark.parametrize("orientation", range(2, 9))
    def test_of_squares_none_shows(self, images: Path, masks: Path, orientation: int) -> None:
        write_image(images / "a.jpg", (30, 30), exif=turned(orientation))
        write_mask(masks / "a.png", Image.fromarray(LEFT_HALF[:, :30]))
        assert len(complaint(images, masks)) == 2

    def test_a_mask_that_is_turned(self, images: Path, masks: Path) -> None:
        write_image(images / "a.jpg")
        write_mask(masks / "a.png", exif=turned(3))
        assert complaint(images, masks)[1].endswith("a.jpg: orientation 1, of its mask 3")

    def test_a_quarter_of_an_almost_square_is_no_slight_difference(
        self, images: Path, masks: Path
    ) -> None:
        write_image(images / "a.jpg", (30, 31), exif=turned(6))
        write_mask(masks / "a.png", Image.new("L", (30, 31)))
        assert "EXIF rotates the image but not the mask" in complaint(images, masks)[1]


class TestSizes:
    # Of NC4K: 1008, 1214 (the one that differs most) and 1302; each image and mask, width×height.
    @pytest.mark.parametrize(
        ("image", "mask"),
        [((700, 370), (702, 370)), ((750, 750), (688, 681)), ((342, 520), (346, 520))],
    )
    def test_masks_of_nc4k_are_taken_and_counted(
        self, images: Path, masks: Path, image: tuple[int, int], mask: tuple[int, int]
    ) -> None:
        write_image(images / "a.jpg", image)
        write_mask(masks / "a.png", Image.new("L", mask, 255))
        write_image(images / "b.jpg")
        write_mask(masks / "b.png")
        assert notes(images, masks) == [
            "1 of 2 masks are slightly larger or smaller than their images; they are taken to "
            "cover the same area"
        ]

    @pytest.mark.parametrize("mask", [(45, 30), (40, 34), (43, 28), (20, 15), (30, 40)])
    def test_others_are_not(self, images: Path, masks: Path, mask: tuple[int, int]) -> None:
        write_image(images / "a.jpg")
        write_mask(masks / "a.png", Image.new("L", mask, 255))
        assert "is 40×30 pixels, its mask" in complaint(images, masks)[1]


def test_unused_frames_are_reported(images: Path, masks: Path) -> None:
    frames = [Image.fromarray(LEFT_HALF), Image.fromarray(255 - LEFT_HALF)]
    frames[0].save(images / "a.gif", save_all=True, append_images=frames[1:])
    frames[0].save(masks / "a.tif", save_all=True, append_images=frames[1:])
    assert notes(images, masks) == ["several frames in a.gif, a.tif: only the first is used"]


def test_names_that_are_no_utf8(images: Path, masks: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    write_image(images / f"{name}.jpg")
    write_mask(masks / f"{name}.png", Image.fromarray(LEFT_HALF // 255))
    with pytest.raises(DataError) as caught:
        notes(images, masks)
    assert name in str(caught.value)
    write_mask(masks / f"{name}.png")
    assert notes(images, masks) == []
