"""`Frame`: regions, buffers, what it refuses, and masks of frames."""

from __future__ import annotations

import itertools
import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dsunet_runtime
from dsunet_runtime import Frame, ImageError, PixelFormat, Segmenter
from tests.runtime import artifacts
from tests.runtime.images.frames import (
    HEIGHT,
    WIDTH,
    Pixels,
    by_hand,
    frame_of,
    noise,
    nv12,
)


class TestRegion:
    @pytest.mark.parametrize("format_", PixelFormat)
    def test_is_the_crop_of_the_whole(self, format_: PixelFormat) -> None:
        whole = frame_of(format_).to_rgb()
        places = itertools.product(
            itertools.combinations(range(WIDTH + 1), 2),
            itertools.combinations(range(HEIGHT + 1), 2),
        )
        for (left, right), (top, bottom) in places:
            region = (left, top, right - left, bottom - top)
            found = frame_of(format_, region=region).to_rgb()
            assert found.flags.c_contiguous
            np.testing.assert_array_equal(found, whole[top:bottom, left:right], str(region))

    def test_of_more_rows_than_are_converted_at_once(self) -> None:
        whole = nv12(200, 6).to_rgb()
        found = nv12(200, 6, region=(1, 33, 4, 160)).to_rgb()
        np.testing.assert_array_equal(found, whole[33:193, 1:5])

    def test_visible_part_of_a_padded_array(self) -> None:
        planes = noise(12, 10)
        found = Frame.from_nv12(planes, region=(0, 0, 9, 7)).to_rgb()
        np.testing.assert_array_equal(found, by_hand(planes[:7, :9], planes[8:].reshape(4, 5, 2)))

    def test_of_integers_of_numpy(self) -> None:
        region: Any = np.array([1, 2, 3, 4])
        assert frame_of("bgr", region=region).to_rgb().shape == (4, 3, 3)


class TestBuffer:
    @pytest.mark.parametrize("format_", PixelFormat)
    def test_what_is_not_of_the_frame_is_not_read(self, format_: PixelFormat) -> None:
        """The same pixels between different bytes."""
        expected = frame_of(format_)
        planes = [expected.data.reshape(HEIGHT, -1)]
        if expected.chroma is not None:
            planes.append(expected.chroma.reshape(len(expected.chroma), -1))
        for seed in range(2):
            memory = noise(500, seed=seed)
            offsets, strides = (13, 301), (23, 31)
            for plane, offset, stride in zip(planes, offsets, strides, strict=False):
                for row, pixels in enumerate(plane):
                    memory[offset + row * stride :][: len(pixels)] = pixels
            chroma = {"chroma_offset": 301, "chroma_stride": 31} if format_ == "nv12" else {}
            frame = Frame.from_buffer(
                memory, WIDTH, HEIGHT, format_, offset=13, stride=23, **chroma
            )
            np.testing.assert_array_equal(frame.to_rgb(), expected.to_rgb())

    @pytest.mark.parametrize(("width", "stride", "chroma"), [(6, 6, 6), (5, 5, 6), (5, 8, 8)])
    @pytest.mark.parametrize("given", [True, False])
    def test_chroma_follows_luma(self, width: int, stride: int, chroma: int, given: bool) -> None:
        memory = noise(7 * stride + 4 * chroma)
        luma = memory[: 7 * stride].reshape(7, stride)[:, :width]
        pairs = memory[7 * stride :].reshape(4, chroma // 2, 2)
        options = {"stride": stride} if given or stride > width else {}
        frame = Frame.from_buffer(memory.tobytes(), width, 7, "nv12", **options)
        np.testing.assert_array_equal(frame.to_rgb(), by_hand(luma, pairs))

    @pytest.mark.parametrize("format_", PixelFormat)
    def test_last_row_needs_no_padding(self, format_: PixelFormat) -> None:
        row = 6 if format_ == "nv12" else WIDTH * len(format_)
        rows = HEIGHT + 4 * (format_ == "nv12")
        size = (rows - 1) * 40 + row
        Frame.from_buffer(bytes(size), WIDTH, HEIGHT, format_, stride=40)
        with pytest.raises(ImageError, match=f"has {size - 1} bytes, .* end at {size}: use "):
            Frame.from_buffer(bytes(size - 1), WIDTH, HEIGHT, format_, stride=40)

    def test_kinds_of_memory(self, tmp_path: Path) -> None:
        stored = noise(HEIGHT, WIDTH, 3)
        (tmp_path / "a").write_bytes(stored.tobytes())
        with (
            (tmp_path / "a").open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        ):
            for memory in (stored, stored.tobytes(), bytearray(stored), memoryview(stored), mapped):
                found = Frame.from_buffer(memory, WIDTH, HEIGHT, "bgr").to_rgb()
                np.testing.assert_array_equal(found, stored[..., ::-1])


@pytest.mark.parametrize(
    "make",
    [
        lambda planes, **options: Frame(planes[:8], "nv12", chroma=planes[8:], **options),
        lambda planes, **options: Frame.from_nv12(planes, **options),
        lambda planes, **options: Frame.from_buffer(planes, 6, 8, "nv12", **options),
    ],
)
def test_every_constructor_takes_encoding_and_region(make: Callable[..., Frame]) -> None:
    planes = noise(12, 6)
    whole = by_hand(planes[:8], planes[8:].reshape(4, 3, 2), "bt709-full")
    found = make(planes, encoding="bt709-full", region=(1, 3, 4, 5)).to_rgb()
    np.testing.assert_array_equal(found, whole[3:8, 1:5])


def test_packed_buffer_with_a_region() -> None:
    image = noise(HEIGHT, WIDTH, 4)
    frame = Frame.from_buffer(image, WIDTH, HEIGHT, "bgra", region=(1, 3, 2, 4))
    np.testing.assert_array_equal(frame.to_rgb(), image[3:7, 1:3, 2::-1])


class TestMasks:
    @pytest.mark.parametrize("make", [artifacts.frames, artifacts.tensors])
    def test_are_those_of_the_rgb_image(
        self, tmp_path: Path, make: Callable[[Path], Path], photo: Pixels
    ) -> None:
        """Of one batch with mixed sizes and formats, and one by one."""
        Image.fromarray(photo).save(tmp_path / "a.png")
        opaque = np.dstack([photo, noise(*photo.shape[:2])])
        planes = nv12(41, 53, region=(3, 5, 20, 31), encoding="bt709-full")
        assert planes.chroma is not None
        converted = by_hand(planes.data, planes.chroma, "bt709-full")[5:36, 3:23]
        images: list[tuple[Any, Pixels]] = [
            (Frame(photo), photo),
            (Frame(photo[..., ::-1], "bgr"), photo),
            (planes, converted),
            (tmp_path / "a.png", photo),
            (Frame(opaque, PixelFormat.RGBA, region=(7, 1, 40, 30)), photo[1:31, 7:47]),
            (Frame(opaque[..., [2, 1, 0, 3]], "bgra"), photo),
        ]
        with dsunet_runtime.load(make(tmp_path / "a.onnx")) as segmenter:
            masks = segmenter.batch([image for image, _ in images])
            for (image, rgb), mask in zip(images, masks, strict=True):
                expected = segmenter(rgb)
                assert mask.shape == rgb.shape[:2]
                np.testing.assert_array_equal(mask, expected)
                np.testing.assert_array_equal(segmenter(image), expected)
                np.testing.assert_array_equal(segmenter.prepare(image).rgb, rgb)

    def test_size_of_the_region_is_what_the_artifact_takes(self, tmp_path: Path) -> None:
        path = artifacts.frames(tmp_path / "a.onnx", height=4, width=3)
        with dsunet_runtime.load(path) as segmenter:
            assert segmenter(frame_of("nv12", region=(1, 1, 3, 4))).shape == (4, 3)
            with pytest.raises(ImageError, match=r"the image is 5×7 .* takes 3×4: resize"):
                segmenter(frame_of("nv12"))

    def test_damaged_frame_in_a_batch(self, segmenter: Segmenter) -> None:
        good = frame_of("bgr")
        with pytest.raises(ImageError, match="not int"):
            segmenter.batch([good, 3])  # type: ignore[list-item]


REFUSED: dict[str, tuple[Callable[[], Frame], str]] = {
    "unknown format": (
        lambda: Frame(noise(4, 4, 2), "yuyv"),
        "unknown pixel format 'yuyv': use one of rgb, bgr, rgba, bgra, nv12",
    ),
    "unknown format of a buffer": (
        lambda: Frame.from_buffer(bytes(48), 4, 4, "RGB"),
        "unknown pixel format 'RGB': use one of rgb,",
    ),
    "unknown encoding": (
        lambda: nv12(encoding="bt2020"),
        "unknown encoding 'bt2020': use one of bt601-limited, bt601-full, bt709-limited, bt709-f",
    ),
    "wrong type": (lambda: Frame(np.zeros((4, 4, 3), np.uint16), "bgr"), "uint16 .*: use uint8"),
    "wrong type of chroma": (
        lambda: Frame(noise(4, 4), "nv12", chroma=np.zeros((2, 4), np.int16)),  # type: ignore[arg-type]
        "int16 .*: use uint8",
    ),
    "not an array": (
        lambda: Frame(bytes(48), "bgr"),  # type: ignore[arg-type]
        "an array, not bytes: use a uint8 array, or Frame.from_buffer",
    ),
    "empty": (lambda: Frame(noise(0, 4, 3), "bgr"), r"shape \(0, 4, 3\) is empty"),
    "empty plane": (lambda: Frame(noise(0, 4), "nv12", chroma=noise(0, 4)), "is empty"),
    "three channels of four": (
        lambda: Frame(noise(4, 4, 3), "bgra"),
        r"shape \(4, 4, 3\) is not an image in bgra: use shape H×W×4, or .*Frame with",
    ),
    "chroma of a packed format": (
        lambda: Frame(noise(4, 4, 3), "bgr", chroma=noise(2, 4)),
        "bgr has no chroma: omit it, or use the format nv12",
    ),
    "offset of chroma of a packed format": (
        lambda: Frame.from_buffer(bytes(48), 4, 4, "rgb", chroma_offset=0),
        "rgb has no chroma",
    ),
    "nv12 without chroma": (
        lambda: Frame(noise(6, 4), "nv12"),
        "nv12 without chroma: give the plane UV as `chroma`, or use Frame.from_nv12",
    ),
    "luma of three dimensions": (
        lambda: Frame(noise(4, 4, 1), "nv12", chroma=noise(2, 4)),
        r"shape \(4, 4, 1\) is not the plane Y of nv12: use H×W",
    ),
    "narrow chroma": (
        lambda: Frame(noise(7, 5), "nv12", chroma=noise(4, 5)),
        r"shape \(4, 5\) is not the plane UV of a frame of 5×7 \(.*\): use shape 4×6 or 4×3×2",
    ),
    "four rows of both planes": (
        lambda: Frame.from_nv12(noise(4, 4)),
        r"shape \(4, 4\) does not have both planes of nv12: use shape \(H \+ ceil\(H/2\)\)×W",
    ),
    "odd width of both planes": (lambda: Frame.from_nv12(noise(6, 5)), "with an even W"),
    "both planes as pixels": (lambda: Frame.from_nv12(noise(6, 4, 1)), r"shape \(6, 4, 1\)"),
    "region to the right": (
        lambda: frame_of("bgr", region=(3, 0, 3, 1)),
        r"x=3, y=0, width=3, height=1 is not inside the frame of 5×7 \(.*\): clip it",
    ),
    "region below": (lambda: frame_of("nv12", region=(0, 6, 1, 2)), "is not inside"),
    "region to the left": (lambda: frame_of("bgr", region=(-1, 0, 3, 1)), "is not inside"),
    "region above": (lambda: frame_of("bgr", region=(0, -1, 3, 1)), "is not inside"),
    "region without columns": (lambda: frame_of("bgr", region=(0, 0, 0, 1)), "is not inside"),
    "region without rows": (lambda: frame_of("bgr", region=(0, 0, 1, 0)), "is not inside"),
    "region of fractions": (
        lambda: frame_of("bgr", region=(0.5, 0, 1, 1)),
        r"'\(0\.5, 0, 1, 1\)' is not four integers: use \(x, y, width, height\)",
    ),
    "region of two numbers": (lambda: frame_of("bgr", region=(1, 1)), "is not four integers"),
    "short stride": (
        lambda: Frame.from_buffer(bytes(999), 10, 4, "bgr", stride=10),
        "the stride in bytes is 10: use at least 30",
    ),
    "short stride of chroma": (
        lambda: Frame.from_buffer(bytes(999), 9, 4, "nv12", chroma_stride=9),
        "the stride in bytes is 9: use at least 10",
    ),
    "too few bytes": (
        lambda: Frame.from_buffer(bytes(10), 2, 2, "rgb", stride=8, offset=1),
        "has 10 bytes, and 2 rows of 6 bytes with a stride of 8 from byte 1 end at 15: use the fr",
    ),
    "too few bytes of chroma": (
        lambda: Frame.from_buffer(bytes(4), 2, 2, "nv12"),
        "has 4 bytes, and 1 rows of 2 bytes with a stride of 2 from byte 4 end at 6",
    ),
    "huge": (lambda: Frame.from_buffer(bytes(9), 10**12, 10**12, "rgb"), "has 9 bytes"),
    "negative offset": (
        lambda: Frame.from_buffer(bytes(99), 2, 2, "rgb", offset=-1),
        "the offset in bytes is -1: use at least 0",
    ),
    "no width": (lambda: Frame.from_buffer(b"", 0, 2, "rgb"), "width is 0: use at least 1"),
    "height of a fraction": (
        lambda: Frame.from_buffer(bytes(99), 2, 2.5, "rgb"),  # type: ignore[arg-type]
        "height is '2.5': use an integer",
    ),
    "text for a buffer": (
        lambda: Frame.from_buffer("pixels", 2, 2, "rgb"),  # type: ignore[arg-type]
        "the buffer cannot be read: .*: use bytes, a memoryview or an open mmap",
    ),
    "buffer of floats": (
        lambda: Frame.from_buffer(np.zeros(99, np.float32), 2, 2, "rgb"),
        r"not contiguous bytes: use Frame\(array, format\)",
    ),
    "buffer with gaps": (
        lambda: Frame.from_buffer(noise(99)[::2], 2, 2, "rgb"),
        "not contiguous bytes",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    make, match = REFUSED[name]
    with pytest.raises(ImageError, match=match) as raised:
        make()
    assert "\n" not in str(raised.value)
