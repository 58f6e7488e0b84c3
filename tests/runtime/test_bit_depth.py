"""Pixels of 9 to 16 bits, against the values that were written; OpenCV writes 16-bit colour."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from dsunet_runtime import ImageError
from dsunet_runtime.images import as_rgb

MAX_SAMPLE_VALUE, SAMPLE_FORMAT = 281, 339
FULL = np.arange(0, 4096, 13, dtype=np.uint16)[:300].reshape(15, 20)
"""Values of 12 bits, up to 3,887."""


def write_12_bits(path: Path, values: NDArray[np.uint16]) -> Path:
    """An uncompressed TIFF file of 12 bits a sample, which Pillow does not write."""
    height, width = values.shape
    first, second = values[:, 0::2].astype(int), values[:, 1::2].astype(int)
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1)
    pixels = packed.astype(np.uint8).tobytes()
    short, long = 3, 4
    tags = [
        (256, short, width), (257, short, height), (258, short, 12), (259, short, 1),
        (262, short, 1), (273, long, 8), (277, short, 1), (278, short, height),
        (279, long, len(pixels)),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    header = struct.pack("<2sHI", b"II", 42, 8 + len(pixels))
    path.write_bytes(header + pixels + struct.pack("<H", len(tags)) + entries + bytes(4))
    return path


def write_tagged(path: Path, values: NDArray[np.uint16], **tags: int) -> Path:
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for name, value in tags.items():
        directory[globals()[name]] = value
    Image.fromarray(values).save(path, tiffinfo=directory)
    return path


def grey(values: NDArray[np.integer]) -> NDArray[np.uint8]:
    return np.repeat(values.astype(np.uint8)[..., None], 3, axis=2)


def test_12_bits_of_tiff(tmp_path: Path) -> None:
    path = write_12_bits(tmp_path / "a.tif", FULL)
    np.testing.assert_array_equal(as_rgb(path), grey(FULL // 16))


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_the_highest_value_that_tiff_says(tmp_path: Path, bits: int) -> None:
    values = (np.arange(300).reshape(15, 20) * ((1 << bits) - 1) // 299).astype(np.uint16)
    path = write_tagged(tmp_path / "a.tif", values, MAX_SAMPLE_VALUE=(1 << bits) - 1)
    np.testing.assert_array_equal(as_rgb(path), grey(values // (1 << bits - 8)))


def test_a_highest_value_of_the_content_says_nothing_of_the_range(tmp_path: Path) -> None:
    values = FULL * 16
    path = write_tagged(tmp_path / "a.tif", values, MAX_SAMPLE_VALUE=int(values.max()))
    np.testing.assert_array_equal(as_rgb(path), grey(values // 256))


def test_a_file_that_contradicts_itself(tmp_path: Path) -> None:
    path = write_tagged(tmp_path / "a.tif", FULL * 16, MAX_SAMPLE_VALUE=4095)
    with pytest.raises(ImageError, match="declares 12 bits, but its highest value is 62192"):
        as_rgb(path)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("highest", [1, 255, 4095])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_few_bits_in_16(tmp_path: Path, suffix: str, highest: int, channels: int) -> None:
    values = np.zeros((15, 20, channels), np.uint16)
    values[3:, :, 0] = highest
    if channels == 4:
        values[:, :, 3] = 65535
    path = tmp_path / f"a.{suffix}"
    assert cv2.imwrite(str(path), values.squeeze())
    with pytest.raises(ImageError, match=r"has 16 bits, but no value above .*save it with 8 bits"):
        as_rgb(path)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_all_of_16_bits_in_colour_keeps_the_high_byte(tmp_path: Path, suffix: str) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (15, 20, 3), dtype=np.uint16)
    path = tmp_path / f"a.{suffix}"
    assert cv2.imwrite(str(path), values)
    np.testing.assert_array_equal(as_rgb(path), values[:, :, ::-1] >> 8)


def test_a_black_image_of_16_bits(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((15, 20), np.uint16)).save(tmp_path / "a.png")
    assert not as_rgb(tmp_path / "a.png").any()


def test_12_bits_of_pgm_are_scaled_by_pillow(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5 20 15 4095\n" + FULL.astype(">u2").tobytes())
    difference = as_rgb(tmp_path / "a.pgm").astype(float) - grey(FULL // 16)
    assert np.abs(difference).max() <= 1  # 4095 becomes 65535, and not 65520


def test_signed_values(tmp_path: Path) -> None:
    path = write_tagged(tmp_path / "a.tif", FULL, SAMPLE_FORMAT=2)
    with pytest.raises(ImageError, match="signed pixels have no known range"):
        as_rgb(path)
