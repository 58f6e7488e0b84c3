"""Decoding and preprocessing, against Pillow and torchvision's formula."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, PngImagePlugin

from dsunet_runtime import ImageError
from dsunet_runtime.images import files as image_files
from dsunet_runtime.images.decode import as_rgb, encoder_input
from tests.runtime import artifacts

UPRIGHT: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


def save(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


class TestSources:
    def test_array_path_string_and_pillow_image_agree(
        self, tmp_path: Path, photo: NDArray[np.uint8]
    ) -> None:
        image = Image.fromarray(photo)
        path = save(image, tmp_path / "a.png")
        for source in (photo, path, str(path), image):
            np.testing.assert_array_equal(as_rgb(source), photo)

    def test_strided_array(self, photo: NDArray[np.uint8]) -> None:
        rgb = as_rgb(photo[::2, ::-1])
        assert rgb.flags.c_contiguous
        np.testing.assert_array_equal(rgb, photo[::2, ::-1])

    @pytest.mark.parametrize("suffix", ["bmp", "gif", "jpg", "png", "ppm", "tif", "webp"])
    def test_formats(self, tmp_path: Path, photo: NDArray[np.uint8], suffix: str) -> None:
        path = save(Image.fromarray(photo), tmp_path / f"a.{suffix}")
        with Image.open(path) as image:
            np.testing.assert_array_equal(as_rgb(path), image.convert("RGB"))


class TestOrientation:
    @pytest.mark.parametrize("orientation", UPRIGHT)
    @pytest.mark.parametrize("mode", ["RGB", "L", "P", "I;16"])
    def test_is_undone(
        self, tmp_path: Path, photo: NDArray[np.uint8], orientation: int, mode: str
    ) -> None:
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        image = Image.fromarray(photo).convert("L" if mode == "I;16" else mode)
        if mode == "I;16":
            image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
        path = save(image, tmp_path / "a.png", exif=exif)
        stored = np.array(image.convert("L" if mode == "L" else "RGB").convert("RGB"))
        if mode == "I;16":
            stored = np.repeat((np.asarray(image) // 257).astype(np.uint8)[..., None], 3, axis=2)
        np.testing.assert_array_equal(as_rgb(path), UPRIGHT[orientation](stored))
        with Image.open(path) as opened:
            np.testing.assert_array_equal(as_rgb(opened), UPRIGHT[orientation](stored))
            assert opened.getexif()[ExifTags.Base.Orientation] == orientation  # not changed

    @pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
    def test_broken_exif_is_no_reason_to_refuse(
        self, tmp_path: Path, photo: NDArray[np.uint8]
    ) -> None:
        broken = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"
        path = save(Image.fromarray(photo), tmp_path / "a.jpg", exif=broken)
        assert as_rgb(path).shape == photo.shape


class TestColours:
    @pytest.mark.parametrize("mode", ["1", "L", "LA", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV"])
    def test_are_what_pillow_makes_of_them(self, photo: NDArray[np.uint8], mode: str) -> None:
        grey_first = mode in ("1", "LA")
        image = Image.fromarray(photo).convert("L" if grey_first else "RGB").convert(mode)
        np.testing.assert_array_equal(as_rgb(image), image.convert("RGB"))

    def test_alpha_is_dropped_and_not_composited(self, photo: NDArray[np.uint8]) -> None:
        image = Image.fromarray(photo)
        image.putalpha(0)
        np.testing.assert_array_equal(as_rgb(image), photo)

    @pytest.mark.filterwarnings("error")
    def test_palette_with_transparency(self, tmp_path: Path, photo: NDArray[np.uint8]) -> None:
        image = Image.fromarray(photo).quantize(32)
        path = save(image, tmp_path / "a.png", transparency=bytes(range(32)))
        np.testing.assert_array_equal(as_rgb(path), image.convert("RGB"))


class TestSixteenBits:
    levels = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)

    @pytest.mark.parametrize("suffix", ["png", "tif"])
    def test_grey_is_scaled_and_not_clipped(self, tmp_path: Path, suffix: str) -> None:
        path = save(Image.fromarray(self.levels), tmp_path / f"a.{suffix}")
        rgb = as_rgb(path)
        assert (rgb.min(), rgb.max()) == (0, 255)
        scaled = self.levels / 257
        assert np.abs(rgb - scaled[..., None]).max() < 1

    def test_big_endian_and_32_bit_modes(self) -> None:
        expected = np.repeat((self.levels >> 8).astype(np.uint8)[..., None], 3, axis=2)
        big = Image.frombytes("I;16B", (64, 64), self.levels.astype(">u2").tobytes())
        wide = Image.fromarray(self.levels.astype(np.int32))
        for image in (big, wide):
            np.testing.assert_array_equal(as_rgb(image), expected)

    def test_grey_agrees_with_how_pillow_reads_colour(self, tmp_path: Path) -> None:
        header = b"P6 64 64 65535\n"
        colour = np.repeat(self.levels[..., None], 3, axis=2).astype(">u2").tobytes()
        grey = self.levels.astype(">u2").tobytes()
        (tmp_path / "colour.ppm").write_bytes(header + colour)
        (tmp_path / "grey.pgm").write_bytes(b"P5 64 64 65535\n" + grey)
        difference = as_rgb(tmp_path / "colour.ppm").astype(int) - as_rgb(tmp_path / "grey.pgm")
        assert np.abs(difference).max() <= 1

    @pytest.mark.parametrize(
        "pixels",
        [np.full((4, 4), 70000, np.int32), np.full((4, 4), -1, np.int32), np.ones((4, 4), "f4")],
    )
    def test_no_known_range(self, pixels: NDArray[np.generic]) -> None:
        with pytest.raises(ImageError, match="no known range: save it with 8 or 16 bits"):
            as_rgb(Image.fromarray(pixels))


class OneWay(io.RawIOBase):
    """A file object that cannot seek and gives a few bytes at a time, as a connection."""

    def __init__(self, content: bytes) -> None:
        self._rest = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self._rest.read(min(len(buffer), 700))
        buffer[: len(part)] = part
        return len(part)


class TestContent:
    @pytest.mark.parametrize("suffix", ["jpeg", "png", "tiff", "webp"])
    def test_bytes_and_file_objects_are_read_like_files(
        self, photo: NDArray[np.uint8], suffix: str, tmp_path: Path
    ) -> None:
        turned = Image.Exif()
        turned[ExifTags.Base.Orientation] = 6
        path = tmp_path / "a"
        Image.fromarray(photo).save(path, suffix, exif=turned)
        expected = as_rgb(path)
        assert expected.shape == (53, 41, 3)
        content = path.read_bytes()
        with path.open("rb") as file:
            file.seek(100)  # as after an upload was checked
            images = (content, bytearray(content), memoryview(content), file, OneWay(content))
            for image in images:
                np.testing.assert_array_equal(as_rgb(image), expected)  # type: ignore[arg-type]

    def test_profile_beyond_pillows_limits(self, photo: NDArray[np.uint8], tmp_path: Path) -> None:
        path = tmp_path / "a.png"
        texts = PngImagePlugin.PngInfo()
        texts.add_text("comment", "x" * (2 * PngImagePlugin.MAX_TEXT_CHUNK), zip=True)
        Image.fromarray(photo).save(path, pnginfo=texts)
        np.testing.assert_array_equal(as_rgb(path.read_bytes()), photo)


class TestRefused:
    @pytest.mark.parametrize(
        ("array", "match"),
        [
            (np.zeros((4, 4), np.uint8), r"shape \(4, 4\) .*H×W×3"),
            (np.zeros((4, 4, 4), np.uint8), r"shape \(4, 4, 4\)"),
            (np.zeros((3, 4, 4), np.uint8), r"shape \(3, 4, 4\)"),
            (np.zeros((1, 4, 4, 3), np.uint8), r"shape \(1, 4, 4, 3\)"),
            (np.zeros((4, 4, 3), np.float32), "float32 .*use uint8"),
            (np.zeros((4, 4, 3), np.int16), "int16 .*use uint8"),
            (np.zeros((0, 4, 3), np.uint8), "empty"),
            (np.zeros((4, 0, 3), np.uint8), "empty"),
        ],
    )
    def test_arrays(self, array: NDArray[np.uint8], match: str) -> None:
        with pytest.raises(ImageError, match=match):
            as_rgb(array)

    def test_empty_pillow_image(self) -> None:
        with pytest.raises(ImageError, match="empty"):
            as_rgb(Image.new("RGB", (0, 5)))

    def test_other_types(self) -> None:
        with pytest.raises(ImageError, match="not list"):
            as_rgb([[1, 2], [3, 4]])  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("content", "match"),
        [
            (b"", "is empty"),
            (b"hello", "not an image"),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0", "damaged"),
        ],
    )
    def test_no_images(self, tmp_path: Path, content: bytes, match: str) -> None:
        path = tmp_path / "a.png"
        path.write_bytes(content)
        with pytest.raises(ImageError, match=match):
            as_rgb(path)

    @pytest.mark.parametrize(
        ("content", "match"),
        [
            (b"", "^is empty"),
            (b"hello", "^not an image"),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0", "^damaged"),
            (b"version https://git-lfs.github.com/spec/v1\n", "^is a pointer .*`git lfs pull`"),
        ],
    )
    def test_bytes_that_are_no_image(self, content: bytes, match: str) -> None:
        for image in (content, bytearray(content), io.BytesIO(content), OneWay(content)):
            with pytest.raises(ImageError, match=match):
                as_rgb(image)  # type: ignore[arg-type] - a bytearray

    def test_file_objects_that_cannot_be_read(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        for content in (b"text", b"\xff\xd8\xff"):  # the latter is no text
            path.write_bytes(content)
            with path.open() as file, pytest.raises(ImageError, match="mode 'rb'"):
                as_rgb(file)  # type: ignore[arg-type]
        with pytest.raises(ImageError, match="mode 'rb'"):
            as_rgb(io.StringIO("text"))  # type: ignore[arg-type]
        with pytest.raises(ImageError, match="cannot be read: I/O operation on closed file"):
            as_rgb(file)  # type: ignore[arg-type]
        with (tmp_path / "b").open("wb") as file, pytest.raises(ImageError, match="cannot be read"):
            as_rgb(file)

    def test_endless_file_objects(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(image_files, "_LARGEST_CONTENT", 5_000_000)
        with Path("/dev/zero").open("rb") as file, pytest.raises(ImageError, match="more than 5,0"):
            as_rgb(file)

    @pytest.mark.parametrize("suffix", ["jpeg", "png", "tiff", "gif"])
    def test_cut_short(self, photo: NDArray[np.uint8], suffix: str, tmp_path: Path) -> None:
        buffer = io.BytesIO()
        Image.fromarray(photo).save(buffer, suffix)
        path = tmp_path / "a"
        path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) * 2 // 3])
        with pytest.raises(ImageError) as caught:
            as_rgb(path)
        assert "\n" not in str(caught.value)

    def test_missing_and_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ImageError, match="No such file"):
            as_rgb(tmp_path / "absent.png")
        with pytest.raises(ImageError, match="is a folder, not a file"):
            as_rgb(tmp_path)

    def test_too_large_to_be_true(
        self, tmp_path: Path, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = save(Image.fromarray(photo), tmp_path / "a.png")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        with pytest.raises(ImageError, match=r"more than 200 pixels.*make it smaller"):
            as_rgb(path)


class TestEncoderInput:
    @pytest.mark.parametrize("size", [(1, 1), (41, 53), (16, 16), (3, 200)])
    @pytest.mark.parametrize("side", [14, 16, 352])
    def test_is_torchvisions_arithmetic(self, size: tuple[int, int], side: int) -> None:
        torch = pytest.importorskip("torch")
        rgb = np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8)
        small = Image.fromarray(rgb).resize((side, side), Image.Resampling.BILINEAR)
        expected = torch.from_numpy(np.array(small)).permute(2, 0, 1).float().div(255)
        mean, std = torch.tensor(artifacts.MEAN), torch.tensor(artifacts.STD)
        expected = expected.sub(mean[:, None, None]).div(std[:, None, None])
        result = encoder_input(rgb, side, artifacts.MEAN, artifacts.STD)
        assert result.dtype == np.float32
        assert result.flags.c_contiguous
        np.testing.assert_allclose(result, expected.numpy(), rtol=0, atol=1e-6)
