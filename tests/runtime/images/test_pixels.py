"""Conversion of pixel formats to RGB, against independent conversions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dsunet_runtime import Frame, PixelFormat, YuvEncoding
from dsunet_runtime.images.decode import as_rgb
from dsunet_runtime.images.pixels import COEFFICIENTS, Coefficients
from tests.runtime.images.frames import (
    HEIGHT,
    WIDTH,
    Pixels,
    by_hand,
    noise,
    nv12,
)

KR_KB = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}

PACKED = [format_ for format_ in PixelFormat if format_ is not PixelFormat.NV12]


def of_itu(yuv: NDArray[np.float64], encoding: str) -> NDArray[np.float64]:
    """RGB of rows of Y, U and V: the inverse of the recommendation's matrix, in float64."""
    standard, range_ = encoding.split("-")
    kr, kb = KR_KB[standard]
    to_luma = np.array([kr, 1 - kr - kb, kb])
    to_cb = (np.array([0, 0, 1]) - to_luma) / (2 * (1 - kb))
    to_cr = (np.array([1, 0, 0]) - to_luma) / (2 * (1 - kr))
    black, luma, chroma = (16, 219, 224) if range_ == "limited" else (0, 255, 255)
    normal = (yuv - [black, 128, 128]) / [luma, chroma, chroma]
    return np.clip(255 * normal @ np.linalg.inv([to_luma, to_cb, to_cr]).T, 0, 255)


class TestNv12:
    @pytest.mark.parametrize("encoding", YuvEncoding)
    def test_coefficients_are_those_of_the_formula(self, encoding: YuvEncoding) -> None:
        standard, range_ = encoding.split("-")
        kr, kb = KR_KB[standard]
        kg = 1 - kr - kb
        black, luma, scale = (16, 255 / 219, 255 / 224) if range_ == "limited" else (0, 1, 1)
        exact = (
            luma,
            2 * (1 - kr) * scale,
            2 * (1 - kb) * kb / kg * scale,
            2 * (1 - kr) * kr / kg * scale,
            2 * (1 - kb) * scale,
        )
        expected = Coefficients(black, *(round(65536 * value) for value in exact))
        assert COEFFICIENTS[encoding] == expected

    @pytest.mark.parametrize("encoding", YuvEncoding)
    def test_every_colour_is_within_a_level_of_the_exact_one(self, encoding: YuvEncoding) -> None:
        steps = np.arange(0, 256, 5, dtype=np.uint8)
        y, u, v = np.meshgrid(steps, steps, steps, indexing="ij")
        luma = y.reshape(len(steps), -1).repeat(2, axis=0).repeat(2, axis=1)
        chroma = np.stack([u, v], axis=-1).reshape(len(steps), -1, 2)
        found = Frame(luma, "nv12", chroma=chroma, encoding=encoding).to_rgb()
        exact = of_itu(np.stack([y, u, v], axis=-1).reshape(-1, 3).astype(float), encoding)
        for row, column in np.ndindex(2, 2):
            difference = found[row::2, column::2].reshape(-1, 3) - exact
            assert np.abs(difference).max() <= 1

    @pytest.mark.parametrize(
        ("encoding", "yuv", "rgb"),
        [
            ("bt601-limited", (81, 90, 240), (255, 0, 0)),
            ("bt601-limited", (145, 54, 34), (0, 255, 0)),
            ("bt601-limited", (41, 240, 110), (0, 0, 255)),
            ("bt709-limited", (63, 102, 240), (255, 0, 0)),
            ("bt709-limited", (173, 42, 26), (0, 255, 0)),
            ("bt709-limited", (32, 240, 118), (0, 0, 255)),
            ("bt601-full", (76, 85, 255), (255, 0, 0)),
            ("bt709-full", (54, 99, 255), (255, 0, 0)),
            *((f"{standard}-limited", (235, 128, 128), (255, 255, 255)) for standard in KR_KB),
            *((f"{standard}-limited", (16, 128, 128), (0, 0, 0)) for standard in KR_KB),
            *((f"{standard}-full", (255, 128, 128), (255, 255, 255)) for standard in KR_KB),
            *((f"{standard}-full", (77, 128, 128), (77, 77, 77)) for standard in KR_KB),
        ],
    )
    def test_known_colours(
        self, encoding: str, yuv: tuple[int, int, int], rgb: tuple[int, int, int]
    ) -> None:
        y, *pair = yuv
        luma, chroma = np.full((2, 2), y, np.uint8), np.uint8([[pair]])
        found = Frame(luma, "nv12", chroma=chroma, encoding=encoding).to_rgb()
        np.testing.assert_allclose(found, np.broadcast_to(rgb, (2, 2, 3)), atol=1)

    @pytest.mark.parametrize("encoding", YuvEncoding)
    @pytest.mark.parametrize("size", [(1, 1), (1, 4), (3, 1), (7, 5), (8, 6), (131, 3)])
    def test_is_the_formula_byte_for_byte(
        self, encoding: YuvEncoding, size: tuple[int, int]
    ) -> None:
        frame = nv12(*size, encoding=encoding)
        assert frame.chroma is not None
        np.testing.assert_array_equal(frame.to_rgb(), by_hand(frame.data, frame.chroma, encoding))

    def test_is_bt601_limited_by_default(self) -> None:
        np.testing.assert_array_equal(
            nv12().to_rgb(), nv12(encoding=YuvEncoding.BT601_LIMITED).to_rgb()
        )

    @pytest.mark.parametrize("size", [(1, 4), (2, 4), (7, 6), (8, 6)])
    def test_both_planes_in_one_array(self, size: tuple[int, int]) -> None:
        separate = nv12(*size)
        assert separate.chroma is not None
        planes = np.vstack([separate.data, separate.chroma.reshape(-1, size[1])])
        np.testing.assert_array_equal(Frame.from_nv12(planes).to_rgb(), separate.to_rgb())

    def test_chroma_of_two_dimensions(self) -> None:
        separate = nv12()
        assert separate.chroma is not None
        flat = Frame(separate.data, "nv12", chroma=separate.chroma.reshape(4, 6))
        np.testing.assert_array_equal(flat.to_rgb(), separate.to_rgb())

    def test_agrees_with_opencv(self) -> None:
        """OpenCV takes Y below 16 for 16."""
        cv2 = pytest.importorskip("cv2")
        planes = noise(12, 10)
        planes[:8] = planes[:8].clip(min=16)
        expected = cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_NV12)
        difference = Frame.from_nv12(planes).to_rgb().astype(int) - expected
        assert np.abs(difference).max() <= 1

    def test_agrees_with_pyav(self) -> None:
        """In the middle of areas of one colour, where no interpolation of chroma shows."""
        av = pytest.importorskip("av", reason="PyAV is not installed")
        colours = noise(4, 4, 3).repeat(16, axis=0).repeat(16, axis=1)
        video = av.VideoFrame.from_ndarray(colours, format="rgb24").reformat(format="nv12")
        found = Frame.from_nv12(video.to_ndarray(format="nv12")).to_rgb()
        difference = found.astype(int) - video.to_ndarray(format="rgb24")
        assert np.abs(difference[8::16, 8::16]).max() <= 3


class TestPacked:
    @pytest.mark.parametrize("format_", PACKED)
    @pytest.mark.parametrize("padding", [0, 7])
    def test_is_what_pillow_reads(self, format_: PixelFormat, padding: int) -> None:
        row = WIDTH * len(format_)
        stored = noise(HEIGHT, row + padding).tobytes()
        arguments = stored, "raw", format_.upper(), row + padding, 1
        mode = "RGBA" if len(format_) == 4 else "RGB"
        expected = Image.frombuffer(mode, (WIDTH, HEIGHT), *arguments).convert("RGB")
        frame = Frame.from_buffer(stored, WIDTH, HEIGHT, format_, stride=row + padding)
        np.testing.assert_array_equal(frame.to_rgb(), expected)

    def test_views(self) -> None:
        image = noise(8, 10, 3)
        for view in (image[::2, ::-1], image.transpose(1, 0, 2), image[2:, 3:]):
            found = Frame(view, "bgr").to_rgb()
            assert found.flags.c_contiguous
            np.testing.assert_array_equal(found, view[..., ::-1])

    @pytest.mark.parametrize(
        "make",
        [
            Frame,
            lambda image: Frame(image, region=(0, 2, WIDTH, 3)),
            lambda image: Frame.from_buffer(image, WIDTH, HEIGHT, "rgb"),
        ],
    )
    def test_contiguous_rgb_is_not_copied(self, make: Callable[[Pixels], Frame]) -> None:
        image = noise(HEIGHT, WIDTH, 3)
        rgb = as_rgb(make(image))
        assert rgb.flags.c_contiguous
        assert np.shares_memory(rgb, image)
