"""Masks and other renderings as files: what is in them, and that none is half written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dsunet_runtime import OutputError
from dsunet_runtime.masks.renderings import Overlay
from dsunet_runtime.prediction import output_files


@pytest.fixture
def mask() -> NDArray[np.uint8]:
    mask = np.zeros((41, 53), np.uint8)
    mask[10:30, 10:30] = 255
    return mask


def test_mask_is_an_8_bit_grey_png(tmp_path: Path, mask: NDArray[np.uint8]) -> None:
    output_files.write_mask(mask, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert (image.format, image.mode) == ("PNG", "L")
        np.testing.assert_array_equal(image, mask)


def test_overlay(tmp_path: Path, photo: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
    drawn = Overlay()(photo, mask)
    outside = np.ones(mask.shape, bool)
    outside[8:32, 8:32] = False
    np.testing.assert_array_equal(drawn[outside], photo[outside])
    inside = drawn[13:27, 13:27].astype(int) - photo[13:27, 13:27]
    assert inside[..., 2].mean() > 30  # bluer
    np.testing.assert_array_equal(drawn[10, 11:29], np.full((18, 3), (0, 200, 255)))


@pytest.mark.parametrize("value", [0, 255])
def test_overlay_without_a_border_has_no_line(photo: NDArray[np.uint8], value: int) -> None:
    drawn = Overlay()(photo, np.full(photo.shape[:2], value, np.uint8))
    assert not (drawn == (0, 200, 255)).all(axis=-1).all(axis=-1).any()


def test_overlay_of_one_pixel() -> None:
    drawn = Overlay()(np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.uint8))
    assert drawn.shape == (1, 1, 3)


@pytest.mark.parametrize("old", [b"the old mask", None])
def test_failure_leaves_what_was_there(
    tmp_path: Path, mask: NDArray[np.uint8], old: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    if old is not None:
        path.write_bytes(old)

    def half(image: Image.Image, file: object, *arguments: object, **options: object) -> None:
        file.write(b"\x89PNG half")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(OutputError, match=r"a\.png: cannot be written: No space left"):
        output_files.write_mask(mask, path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == ({"a.png": old} if old else {})


def test_interruption_leaves_nothing(
    tmp_path: Path, mask: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        output_files.write_mask(mask, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_folder_that_is_not_there(tmp_path: Path, mask: NDArray[np.uint8]) -> None:
    with pytest.raises(OutputError, match="cannot be written: No such file"):
        output_files.write_mask(mask, tmp_path / "absent" / "a.png")


def test_a_folder_in_the_way(tmp_path: Path, mask: NDArray[np.uint8]) -> None:
    (tmp_path / "a.png").mkdir()
    with pytest.raises(OutputError, match="cannot be written: Is a directory"):
        output_files.write_mask(mask, tmp_path / "a.png")
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
