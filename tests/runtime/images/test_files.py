"""Files that are no plain images: what is read of them, and why the others are not."""

from __future__ import annotations

import os
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, PngImagePlugin

from dsunet_runtime import ImageError
from dsunet_runtime.images.decode import as_rgb, decode_image, read_header

MANY = 3_000_000
"""Bytes of a text: Pillow reads up to 1 MiB of compressed ones."""


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


class TestLargeTexts:
    @pytest.fixture
    def png(self, tmp_path: Path, photo: NDArray[np.uint8]) -> Path:
        Image.fromarray(photo).save(tmp_path / "a.png")
        return tmp_path / "a.png"

    @pytest.mark.parametrize(
        "extra",
        [
            chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(MANY))),
            chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(MANY))),
            chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(MANY))),
            chunk(b"tEXt", b"Comment\0" + b" " * (PngImagePlugin.MAX_TEXT_MEMORY + 1)),
        ],
        ids=["profile", "zTXt", "iTXt", "tEXt"],
    )
    @pytest.mark.parametrize("at_the_end", [False, True])
    def test_pixels_are_read(
        self, png: Path, photo: NDArray[np.uint8], extra: bytes, at_the_end: bool
    ) -> None:
        data = png.read_bytes()
        place = data.index(b"IEND" if at_the_end else b"IDAT") - 4
        png.write_bytes(data[:place] + extra + data[place:])
        with pytest.raises(ValueError, match=r"too large|Too much"), Image.open(png) as image:
            image.load()
        np.testing.assert_array_equal(as_rgb(png), photo)

    def test_orientation_is_kept(self, tmp_path: Path, photo: NDArray[np.uint8]) -> None:
        path = tmp_path / "a.png"
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 6
        Image.fromarray(photo).save(path, exif=exif)
        data = path.read_bytes()
        place = data.index(b"IDAT") - 4
        text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(MANY)))
        path.write_bytes(data[:place] + text + data[place:])
        np.testing.assert_array_equal(as_rgb(path), np.rot90(photo, -1))

    def test_damage_is_still_damage(self, png: Path) -> None:
        data = png.read_bytes()
        place = data.index(b"IDAT") - 4
        text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(MANY)))
        png.write_bytes(data[:place] + text + data[place : place + 400])
        with pytest.raises(ImageError, match="damaged"):
            as_rgb(png)


class TestNoFiles:
    def test_a_link_that_leads_nowhere(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").symlink_to(tmp_path / ".git/annex/objects/key")
        with pytest.raises(ImageError, match="a broken link: fetch the data"):
            as_rgb(tmp_path / "a.png")

    @pytest.mark.parametrize(
        ("content", "remedy"),
        [
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
            (b"/annex/objects/SHA256E-s100--0.png\n", "git annex get"),
        ],
    )
    def test_what_stands_for_data(self, tmp_path: Path, content: bytes, remedy: str) -> None:
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(ImageError, match=f"not fetched: fetch them with `{remedy}`"):
            as_rgb(tmp_path / "a.png")

    def test_what_may_never_end(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.png")
        (tmp_path / "zero.png").symlink_to("/dev/zero")
        (tmp_path / "loop.png").symlink_to("loop.png")
        (tmp_path / "folder.png").mkdir()
        start = time.monotonic()
        for name, match in [
            ("pipe", "a pipe or a device"),
            ("zero", "a pipe or a device"),
            ("loop", "cannot be read: Too many levels of symbolic links"),
            ("folder", "is a folder"),
        ]:
            for read in (as_rgb, read_header):
                with pytest.raises(ImageError, match=match):
                    read(tmp_path / f"{name}.png")
        assert time.monotonic() - start < 5


class TestFrames:
    @pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif", "avif"])
    def test_the_first_is_taken_and_the_others_are_reported(
        self, tmp_path: Path, photo: NDArray[np.uint8], suffix: str
    ) -> None:
        one, several = tmp_path / f"one.{suffix}", tmp_path / f"several.{suffix}"
        first, second = Image.fromarray(photo), Image.fromarray(255 - photo)
        first.save(one)
        first.save(several, save_all=True, append_images=[second])
        decoded = decode_image(several)
        assert decoded.header.is_first_of_several
        assert read_header(several).is_first_of_several
        assert not decode_image(one).header.is_first_of_several
        # Animations are coded as pictures that change, so exactly the same only where lossless.
        tolerance = {"webp": 12, "avif": 25}.get(suffix, 0)
        difference = np.abs(decoded.rgb.astype(int) - as_rgb(one))
        assert np.percentile(difference, 95) <= tolerance

    def test_a_photograph_with_its_depth_has_one(
        self, tmp_path: Path, photo: NDArray[np.uint8]
    ) -> None:
        path = tmp_path / "a.mpo"
        image = Image.fromarray(photo)
        image.save(path, save_all=True, append_images=[image.resize((8, 8))])
        with Image.open(path) as opened:
            assert opened.n_frames == 2  # type: ignore[attr-defined]
        assert not decode_image(path).header.is_first_of_several


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_headers_have_the_size_and_the_orientation(
    tmp_path: Path, photo: NDArray[np.uint8], orientation: int, suffix: str
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(photo).save(tmp_path / f"a.{suffix}", exif=exif)
    header, decoded = read_header(tmp_path / f"a.{suffix}"), decode_image(tmp_path / f"a.{suffix}")
    assert header.orientation == decoded.header.orientation == orientation
    height, width, _ = photo.shape
    assert header.shape == ((width, height) if orientation > 4 else (height, width))
    assert header.shape == decoded.rgb.shape[:2]


def test_an_orientation_that_there_is_not(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 0
    Image.fromarray(photo).save(tmp_path / "a.png", exif=exif)
    assert decode_image(tmp_path / "a.png").header.orientation == 1


@pytest.mark.parametrize(("alpha", "is_transparent"), [(255, False), (254, True)])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_reported(
    tmp_path: Path, photo: NDArray[np.uint8], mode: str, alpha: int, is_transparent: bool
) -> None:
    image = Image.fromarray(photo).convert("L" if mode == "LA" else "RGB")
    if mode == "P":
        image.quantize(8).save(tmp_path / "a.png", transparency=bytes([alpha] * 8))
    else:
        image.putalpha(alpha)
        image.save(tmp_path / "a.png")
    assert decode_image(tmp_path / "a.png").is_transparent is is_transparent


@pytest.mark.parametrize(
    ("mode", "space", "size", "is_kept"),
    [
        ("RGB", b"RGB ", 128, True),
        ("RGBA", b"RGB ", 128, True),
        ("RGB", b"RGB ", (1 << 20) + 1, False),
        ("RGB", b"", 16, False),
        ("L", b"GRAY", 128, False),
        ("CMYK", b"CMYK", 128, False),
    ],
)
def test_profiles_of_rgb_are_kept(mode: str, space: bytes, size: int, is_kept: bool) -> None:
    profile = (bytes(16) + space).ljust(size, b"\0")
    image = Image.new(mode, (3, 2))
    image.info["icc_profile"] = profile
    assert decode_image(image).icc_profile == (profile if is_kept else None)
