"""Pixels of 9 to 16 bits, against the values that were written; OpenCV writes 16-bit colour."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from dsunet_runtime import ImageError
from dsunet_runtime.images.decode import as_rgb

MAX_SAMPLE_VALUE, SAMPLE_FORMAT = 281, 339
DEFLATE = 8  # of TIFF
FULL = np.arange(0, 4096, 13, dtype=np.uint16)[:300].reshape(15, 20)
"""Values of 12 bits, up to 3,887."""


def write_tiff(path: Path, planes: list[bytes], width: int, height: int, **tags: int) -> Path:
    """A TIFF file with any tags, which Pillow does not write.  The planes follow each other."""
    channels, bits = tags.get("channels", 1), tags.get("bits", 16)
    short, long = 3, 4
    blobs, entries, start = [], [], 8

    def entry(tag: int, kind: int, *values: int) -> None:
        nonlocal start
        data = struct.pack("<" + ("H" if kind == short else "I") * len(values), *values)
        if len(data) > 4:
            blobs.append(data)
            start, data = start + len(data), struct.pack("<I", start)
        entries.append(struct.pack("<HHI", tag, kind, len(values)) + data.ljust(4, b"\0"))

    offsets = []
    for plane in planes:
        offsets.append(start)
        blobs.append(plane)
        start += len(plane)
    entry(256, short, width)
    entry(257, short, height)
    entry(258, short, *[bits] * channels)
    entry(259, short, tags.get("compression", 1))
    entry(262, short, tags.get("photometric", 1))
    entry(266, short, tags.get("fill_order", 1))
    entry(273, long, *offsets)
    entry(277, short, channels)
    entry(278, short, height)
    entry(279, long, *map(len, planes))
    if "highest" in tags:
        entry(281, short, *[tags["highest"]] * channels)
    entry(284, short, 2 if len(planes) > 1 or tags.get("separate") else 1)
    if "sample_format" in tags:
        entry(339, short, *[tags["sample_format"]] * channels)
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    path.write_bytes(struct.pack("<2sHI", b"II", 42, start) + b"".join(blobs) + directory)
    return path


def write_12_bits(path: Path, values: NDArray[np.uint16]) -> Path:
    height, width = values.shape
    first, second = values[:, 0::2].astype(int), values[:, 1::2].astype(int)
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1)
    return write_tiff(path, [packed.astype(np.uint8).tobytes()], width, height, bits=12)


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
def test_the_highest_value_in_tiffs_tag(tmp_path: Path, bits: int) -> None:
    values = (np.arange(300).reshape(15, 20) * ((1 << bits) - 1) // 299).astype(np.uint16)
    path = write_tagged(tmp_path / "a.tif", values, MAX_SAMPLE_VALUE=(1 << bits) - 1)
    np.testing.assert_array_equal(as_rgb(path), grey(values // (1 << bits - 8)))


def test_a_highest_value_of_the_content_is_not_the_range(tmp_path: Path) -> None:
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


def colours(highest: int) -> NDArray[np.uint16]:
    """H×W×3, up to `highest`."""
    return np.linspace(0, highest, 900).astype(np.uint16).reshape(15, 20, 3)


class TestTiff:
    @pytest.mark.parametrize(("bits", "highest"), [(16, 0), (12, 4095), (8, 255)])
    @pytest.mark.parametrize("is_compressed", [False, True])
    def test_white_is_zero(
        self, tmp_path: Path, bits: int, highest: int, is_compressed: bool
    ) -> None:
        values = (np.arange(300) * ((1 << bits) - 1) // 299).astype(np.uint16).reshape(15, 20)
        path = tmp_path / "a.tif"
        tags = {"highest": highest} if highest else {}
        pixels = values.astype("<u2").tobytes()
        if is_compressed:
            pixels, tags["compression"] = zlib.compress(pixels), DEFLATE
        write_tiff(path, [pixels], 20, 15, photometric=0, **tags)
        expected = ((1 << bits) - 1 - values.astype(int)) >> (bits - 8)
        np.testing.assert_array_equal(as_rgb(path), grey(expected))

    def test_white_is_zero_of_8_bits_is_inverted_by_pillow(self, tmp_path: Path) -> None:
        values = np.arange(300, dtype=np.uint16).reshape(15, 20).astype(np.uint8)
        path = tmp_path / "a.tif"
        write_tiff(path, [values.tobytes()], 20, 15, photometric=0, bits=8)
        np.testing.assert_array_equal(as_rgb(path), grey(255 - values))

    def test_interleaved_colours_of_16_bits(self, tmp_path: Path) -> None:
        values = colours(65535)
        path = tmp_path / "a.tif"
        write_tiff(path, [values.tobytes()], 20, 15, photometric=2, channels=3)
        np.testing.assert_array_equal(as_rgb(path), values >> 8)

    def test_separate_channels_of_8_bits(self, tmp_path: Path) -> None:
        values = colours(255).astype(np.uint8)
        planes = [values[:, :, channel].tobytes() for channel in range(3)]
        path = write_tiff(tmp_path / "a.tif", planes, 20, 15, photometric=2, channels=3, bits=8)
        np.testing.assert_array_equal(as_rgb(path), values)

    @pytest.mark.parametrize(
        ("count", "tags"),
        [
            (3, {"photometric": 2, "bits": 16}),
            (3, {"photometric": 2, "bits": 8, "fill_order": 2}),
            (4, {"photometric": 5, "bits": 16}),
            (1, {"photometric": 1, "bits": 16}),
            (1, {"photometric": 0, "bits": 8}),
            (1, {"photometric": 1, "bits": 4}),
        ],
    )
    def test_separate_channels_that_pillow_misreads(
        self, tmp_path: Path, count: int, tags: dict[str, int]
    ) -> None:
        plane = colours(65535)[:, :, 0].tobytes()[: 300 * tags["bits"] // 8]
        path = tmp_path / "a.tif"
        write_tiff(path, [plane] * count, 20, 15, channels=count, separate=1, **tags)
        complaint = f"channels separately, uncompressed, {tags['bits']} bits.*: save it with inter"
        with pytest.raises(ImageError, match=complaint):
            as_rgb(path)

    def test_signed_values_of_8_bits(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tif"
        write_tiff(path, [bytes(range(256)) + bytes(44)], 20, 15, bits=8, sample_format=2)
        with pytest.raises(ImageError, match=r"signed pixels .*: save it unsigned, with 8 or 16 b"):
            as_rgb(path)

    @pytest.mark.parametrize("is_subsampled", [False, True])
    def test_uncompressed_ycbcr(self, tmp_path: Path, is_subsampled: bool) -> None:
        path, size = tmp_path / "a.tif", 450 if is_subsampled else 900
        write_tiff(path, [bytes([128] * size)], 20, 15, photometric=6, channels=3, bits=8)
        path.write_bytes(path.read_bytes() + bytes(900))  # such as another page
        with pytest.raises(ImageError, match="uncompressed TIFF file of YCbCr: save it as RGB"):
            as_rgb(path)

    @pytest.mark.parametrize("highest", [255, 1023, 4095, 16383])
    def test_fewer_bits_in_colour(self, tmp_path: Path, highest: int) -> None:
        path = tmp_path / "a.tif"
        pixels = [colours(highest).tobytes()]
        write_tiff(path, pixels, 20, 15, photometric=2, channels=3, highest=highest)
        bits = highest.bit_length()
        with pytest.raises(ImageError, match=rf"colours of {bits} bits in 16 .*MaxSampleValue.*sa"):
            as_rgb(path)


class TestPpm:
    @pytest.mark.parametrize("highest", [255, 4095])
    @pytest.mark.parametrize("is_plain", [False, True])
    def test_few_bits_in_16(self, tmp_path: Path, highest: int, is_plain: bool) -> None:
        values = colours(highest - highest // 16)
        path = write_ppm(tmp_path / "a.ppm", values, 65535, is_plain)
        with pytest.raises(ImageError, match=r"has 16 bits, but no value above .*save it with 8"):
            as_rgb(path)

    @pytest.mark.parametrize("highest", [1023, 4095, 65535])
    @pytest.mark.parametrize("is_plain", [False, True])
    def test_all_of_the_range(self, tmp_path: Path, highest: int, is_plain: bool) -> None:
        values = colours(highest)
        rgb = as_rgb(write_ppm(tmp_path / "a.ppm", values, highest, is_plain))
        assert np.abs(rgb.astype(float) - values * (255 / highest)).max() <= 0.51

    def test_a_dark_image_whose_range_is_known(self, tmp_path: Path) -> None:
        rgb = as_rgb(write_ppm(tmp_path / "a.ppm", colours(100), 4095, False))
        assert rgb.max() == 6
        values = (FULL // 40).astype(">u2")
        (tmp_path / "a.pgm").write_bytes(b"P5 20 15 4095\n" + values.tobytes())
        assert as_rgb(tmp_path / "a.pgm").max() == 6

    @pytest.mark.parametrize("is_plain", [False, True])
    def test_few_bits_in_grey(self, tmp_path: Path, is_plain: bool) -> None:
        path = write_ppm(tmp_path / "a.pgm", FULL, 65535, is_plain)
        with pytest.raises(ImageError, match="has 16 bits, but no value above 3887"):
            as_rgb(path)


def write_ppm(path: Path, values: NDArray[np.uint16], highest: int, is_plain: bool) -> Path:
    plain = b" ".join(b"%d" % value for value in values.ravel())
    data = plain if is_plain else values.astype(">u2").tobytes()
    kind = (2 if is_plain else 5) + (values.ndim == 3)
    path.write_bytes(b"P%d" % kind + b" 20 15 %d\n" % highest + data)
    return path


class TestSgi:
    def write(self, path: Path, values: NDArray[np.uint16], is_packed: bool) -> Path:
        """Planes of lines from the bottom, each of which is, if packed, one run of literals."""
        height, width, channels = values.shape
        lines = values.transpose(2, 0, 1)[:, ::-1].astype(">u2").reshape(-1, width)
        header = struct.pack(
            ">hBBHHHHii", 474, is_packed, 2, 3 if channels > 1 else 2, width, height, channels,
            0, 65535,
        )  # fmt: skip
        data = b"".join(line.tobytes() for line in lines)
        if is_packed:
            runs = [struct.pack(">H", 0x80 | width) + line.tobytes() + bytes(2) for line in lines]
            first = 512 + 8 * len(runs)
            starts = [first + number * len(runs[0]) for number in range(len(runs))]
            lengths = [len(run) for run in runs]
            data = struct.pack(f">{2 * len(runs)}I", *starts, *lengths) + b"".join(runs)
        path.write_bytes(header.ljust(512, b"\0") + data)
        return path

    @pytest.mark.parametrize("is_packed", [False, True])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_16_bits(self, tmp_path: Path, channels: int, is_packed: bool) -> None:
        values = colours(65535)[:, :, :channels]
        rgb = as_rgb(self.write(tmp_path / "a.sgi", values, is_packed))
        np.testing.assert_array_equal(rgb, np.broadcast_to(values >> 8, rgb.shape))

    @pytest.mark.parametrize("is_packed", [False, True])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_few_bits_in_16(self, tmp_path: Path, channels: int, is_packed: bool) -> None:
        path = self.write(tmp_path / "a.sgi", colours(4095)[:, :, :channels], is_packed)
        with pytest.raises(ImageError, match="has 16 bits, but no value above 4095"):
            as_rgb(path)


def large(highest: int) -> NDArray[np.uint16]:
    """H×W×3, up to `highest`, of at least 32 pixels a side, which OpenCV needs."""
    return colours(highest).repeat(4, axis=0).repeat(4, axis=1)


class TestJpeg2000:
    @pytest.mark.parametrize("suffix", ["jp2", "j2k"])
    @pytest.mark.parametrize("highest", [255, 4095])
    def test_few_bits_in_16(self, tmp_path: Path, highest: int, suffix: str) -> None:
        path = self.write(tmp_path / f"a.{suffix}", large(highest)[:, :, 0])
        with pytest.raises(ImageError, match="has 16 bits, but no value above"):
            as_rgb(path)

    @pytest.mark.parametrize("suffix", ["jp2", "j2k"])
    @pytest.mark.parametrize("highest", [255, 4095, 65535])
    def test_colours_of_16_bits(self, tmp_path: Path, highest: int, suffix: str) -> None:
        path = self.write(tmp_path / f"a.{suffix}", large(highest))  # Pillow turns 65535 into 0
        with pytest.raises(ImageError, match=r"16 bits a channel in JPEG 2000.*: save it with 8"):
            as_rgb(path)

    @pytest.mark.parametrize("suffix", ["jp2", "j2k"])
    @pytest.mark.parametrize(
        "values", [large(255).astype(np.uint8), large(65535)[:, :, 0]], ids=["8", "16"]
    )
    def test_all_of_the_range(
        self, tmp_path: Path, values: NDArray[np.unsignedinteger], suffix: str
    ) -> None:
        rgb = as_rgb(self.write(tmp_path / f"a.{suffix}", values))
        levels = values if values.ndim == 3 else grey(values >> 8)
        assert np.abs(rgb.astype(int) - levels).max() < 4  # the compression is lossy

    def test_a_dark_image_of_8_bits(self, tmp_path: Path) -> None:
        Image.new("RGB", (64, 64), (3, 3, 3)).save(tmp_path / "a.jp2")
        assert as_rgb(tmp_path / "a.jp2").max() == 3

    @pytest.mark.parametrize("mode", ["L", "RGB"])
    def test_signed_values(self, tmp_path: Path, mode: str) -> None:
        path = tmp_path / "a.jp2"
        Image.new(mode, (64, 64), 0).save(path, signed=True)
        with pytest.raises(ImageError, match="signed pixels have no known range"):
            as_rgb(path)

    def write(self, path: Path, values: NDArray[np.unsignedinteger]) -> Path:
        """With OpenCV, which writes 16 bits; as j2k the codestream alone."""
        jp2 = path.with_suffix(".jp2")
        assert cv2.imwrite(str(jp2), values[..., ::-1] if values.ndim == 3 else values)
        data = jp2.read_bytes()
        path.write_bytes(data[data.index(b"\xff\x4f\xff\x51") if path != jp2 else 0 :])
        return path


class TestFits:
    def write(self, path: Path, values: NDArray[np.generic], *cards: str) -> Path:
        height, width = values.shape
        lines = [
            "SIMPLE  =                    T",
            f"BITPIX  = {8 * values.dtype.itemsize:20}",
            "NAXIS   =                    2",
            f"NAXIS1  = {width:20}",
            f"NAXIS2  = {height:20}",
            *cards,
            "END",
        ]
        header = "".join(line.ljust(80) for line in lines).encode().ljust(2880)
        path.write_bytes(header + values[::-1].tobytes().ljust(2880, b"\0"))
        return path

    @pytest.mark.parametrize("cards", [[], ["BZERO   =                32768"]])
    def test_16_bits_are_signed(self, tmp_path: Path, cards: list[str]) -> None:
        path = self.write(tmp_path / "a.fits", (FULL * 8).astype(">i2"), *cards)
        with pytest.raises(ImageError, match=r"16 bits are signed.*: save it as a PNG"):
            as_rgb(path)

    @pytest.mark.parametrize(
        "cards", [[], ["BZERO   =                  0.0", "BSCALE  =                1.0D0 / none"]]
    )
    def test_8_bits(self, tmp_path: Path, cards: list[str]) -> None:
        values = np.arange(300).reshape(15, 20).astype(np.uint8)
        np.testing.assert_array_equal(
            as_rgb(self.write(tmp_path / "a.fits", values, *cards)), grey(values)
        )

    @pytest.mark.parametrize("card", ["BZERO   =                 -128", "BSCALE  = 2.0 / twice"])
    def test_an_offset_and_a_scale(self, tmp_path: Path, card: str) -> None:
        path = self.write(tmp_path / "a.fits", np.zeros((15, 20), np.uint8), card)
        with pytest.raises(ImageError, match=r"has BZERO or BSCALE, .*: save it as a PNG"):
            as_rgb(path)


@pytest.mark.parametrize(("code", "kind"), [("BC5S", "signed"), (95, "floating"), (96, "floating")])
def test_dds_of_no_known_range(tmp_path: Path, code: str | int, kind: str) -> None:
    """By its four characters, or by its number in DirectX 10: 95 and 96 are BC6H."""
    name = code.encode() if isinstance(code, str) else b"DX10"
    header = struct.pack("<7I44x2I4s20x20x", 124, 0, 4, 4, 0, 0, 0, 32, 4, name)
    extended = b"" if isinstance(code, str) else struct.pack("<5I", code, 3, 0, 1, 0)
    path = tmp_path / "a.dds"
    path.write_bytes(b"DDS " + header + extended + bytes(64))
    with pytest.raises(ImageError, match=rf"{kind}.* pixels have no known range: save it with"):
        as_rgb(path)
