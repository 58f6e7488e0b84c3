"""Frames of every format, with gaps between rows and regions of interest, give Python's bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import dsunet_runtime
from dsunet_runtime import Frame as PythonFrame
from dsunet_runtime import PixelFormat, YuvEncoding
from tests.cpp.c_interface import (
    BGR,
    BGRA,
    NV12,
    RGB,
    RGBA,
    Frame,
    Library,
    Mask,
    Segmenter,
    mask_of,
    packed,
)
from tests.runtime import artifacts

FORMATS = dict(zip(PixelFormat, (RGB, BGR, RGBA, BGRA, NV12), strict=True))
ENCODINGS = dict(zip(YuvEncoding, range(4), strict=True))
CHANNELS = {PixelFormat.RGB: 3, PixelFormat.BGR: 3, PixelFormat.RGBA: 4, PixelFormat.BGRA: 4}
PACKED = sorted(CHANNELS)
REGIONS = [None, (0, 0, 21, 13), (3, 5, 8, 6), (20, 12, 1, 1), (1, 1, 20, 12), (2, 0, 5, 13)]
WIDTH, HEIGHT = 21, 13

Bytes = NDArray[np.uint8]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return artifacts.frames(tmp_path_factory.mktemp("pixels") / "a.onnx")


@pytest.fixture(scope="module")
def python(artifact: Path) -> dsunet_runtime.Segmenter:
    return dsunet_runtime.load(artifact)


@pytest.fixture
def segmenter(library: Library, artifact: Path) -> Any:
    with library.open(artifact) as opened:
        yield opened


def noise(*shape: int) -> Bytes:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, np.uint8)


def region_fields(region: tuple[int, int, int, int] | None) -> dict[str, int]:
    return dict(zip(("x", "y", "region_width", "region_height"), region or (), strict=bool(region)))


def masked(segmenter: Segmenter, frame: Frame, gap: int = 0, threshold: int = 0) -> Bytes:
    """The mask of a frame, written with `gap` bytes between rows, which must stay as they are."""
    width, height = frame.region_width or frame.width, frame.region_height or frame.height
    buffer = np.full((height, width + gap), 77, np.uint8)
    segmenter.segment([frame], [mask_of(buffer[:, :width], threshold)])
    assert (buffer[:, width:] == 77).all()
    return buffer[:, :width]


@pytest.mark.parametrize("pixel_format", PACKED)
@pytest.mark.parametrize("gap", [0, 5])
@pytest.mark.parametrize("region", REGIONS)
def test_packed_formats(
    segmenter: Segmenter,
    python: dsunet_runtime.Segmenter,
    pixel_format: PixelFormat,
    gap: int,
    region: tuple[int, int, int, int] | None,
) -> None:
    channels = CHANNELS[pixel_format]
    buffer = noise(HEIGHT, WIDTH * channels + gap)
    frame = Frame(
        data=buffer.ctypes.data, width=WIDTH, height=HEIGHT, stride=buffer.shape[1],
        format=FORMATS[pixel_format], **region_fields(region),
    )  # fmt: skip
    expected = python(
        PythonFrame.from_buffer(
            buffer, WIDTH, HEIGHT, pixel_format, stride=buffer.shape[1], region=region
        )
    )
    assert np.array_equal(masked(segmenter, frame, gap), expected)


@pytest.mark.parametrize("encoding", YuvEncoding)
@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("gap", [0, 6])
@pytest.mark.parametrize("is_apart", [False, True])
def test_nv12(
    segmenter: Segmenter,
    python: dsunet_runtime.Segmenter,
    encoding: YuvEncoding,
    region: tuple[int, int, int, int] | None,
    gap: int,
    is_apart: bool,
) -> None:
    """Of an odd size; planes one after the other, or apart."""
    stride, chroma_rows = WIDTH + 1 + gap, (HEIGHT + 1) // 2
    luma, chroma = noise(HEIGHT, stride), noise(chroma_rows, stride)
    whole = np.concatenate([luma, chroma])
    frame = Frame(
        data=(luma if is_apart else whole).ctypes.data, width=WIDTH, height=HEIGHT, stride=stride,
        chroma=chroma.ctypes.data if is_apart else None, chroma_stride=stride if is_apart else 0,
        format=NV12, encoding=ENCODINGS[encoding], **region_fields(region),
    )  # fmt: skip
    expected = python(
        PythonFrame.from_buffer(
            whole, WIDTH, HEIGHT, PixelFormat.NV12, stride=stride, encoding=encoding, region=region
        )
    )
    assert np.array_equal(masked(segmenter, frame), expected)


def test_all_colours_of_nv12(segmenter: Segmenter, python: dsunet_runtime.Segmenter) -> None:
    """Every pair of U and V, beside eight levels of Y."""
    u, v = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    chroma = np.stack([u, v], axis=-1).reshape(256, 512)
    for level in range(0, 256, 36):
        whole = np.concatenate([np.full((512, 512), level, np.uint8), chroma])
        for encoding, number in ENCODINGS.items():
            frame = Frame(
                data=whole.ctypes.data,
                width=512,
                height=512,
                format=NV12,
                encoding=number,
            )
            expected = python(
                PythonFrame.from_buffer(whole, 512, 512, PixelFormat.NV12, encoding=encoding)
            )
            assert np.array_equal(masked(segmenter, frame), expected)


def test_rows_from_the_bottom(segmenter: Segmenter) -> None:
    """A negative stride: `data` is the first row of the picture, the last in memory."""
    image = noise(HEIGHT, WIDTH, 3)
    upside_down = np.ascontiguousarray(image[::-1])
    frame = Frame(data=upside_down[-1].ctypes.data, width=WIDTH, height=HEIGHT, stride=-3 * WIDTH)
    levels = np.empty((HEIGHT, WIDTH), np.uint8)
    mask = Mask(data=levels[-1].ctypes.data, stride=-WIDTH)
    segmenter.segment([frame], [mask])
    assert np.array_equal(levels[::-1], artifacts.expected_frames_mask(image))


@pytest.mark.parametrize("width", [WIDTH, WIDTH + 1])
def test_nv12_from_the_bottom(
    segmenter: Segmenter, python: dsunet_runtime.Segmenter, width: int
) -> None:
    """Both planes: rows of U and V follow each other like those of Y, also if they are longer."""
    luma, chroma = noise(HEIGHT, width), noise((HEIGHT + 1) // 2, (width + 1) // 2 * 2)
    upright = PythonFrame(
        np.ascontiguousarray(luma[::-1]), "nv12", chroma=np.ascontiguousarray(chroma[::-1])
    )
    frame = Frame(
        data=luma[-1].ctypes.data, width=width, height=HEIGHT, stride=-width,
        chroma=chroma[-1].ctypes.data, format=NV12,
    )  # fmt: skip
    assert np.array_equal(masked(segmenter, frame), python(upright))


@pytest.mark.parametrize("threshold", [1, 100, 255])
@pytest.mark.parametrize("gap", [0, 3])
@pytest.mark.parametrize("count", [1, 2])
def test_thresholds(segmenter: Segmenter, threshold: int, gap: int, count: int) -> None:
    image = noise(HEIGHT, WIDTH, 3)
    buffers = np.zeros((count, HEIGHT, WIDTH + gap), np.uint8)
    segmenter.segment(
        [packed(image)] * count, [mask_of(one[:, :WIDTH], threshold) for one in buffers]
    )
    expected = np.where(artifacts.expected_frames_mask(image) >= threshold, 255, 0)
    for one in buffers:
        assert np.array_equal(one[:, :WIDTH], expected)


@pytest.mark.parametrize("batch", ["batch", 2])
def test_formats_and_sizes_in_one_call(library: Library, tmp_path: Path, batch: int | str) -> None:
    path = artifacts.frames(tmp_path / "a.onnx", batch=batch)
    given, expected = [], []
    for number, pixel_format in enumerate([*PACKED, *PACKED]):
        image = noise(HEIGHT + number % 2, WIDTH, CHANNELS[pixel_format])
        given.append(packed(image, FORMATS[pixel_format]))
        expected.append((image, pixel_format))
    with library.open(path) as segmenter, dsunet_runtime.load(path) as python:
        found = [np.empty(image.shape[:2], np.uint8) for image, _ in expected]
        segmenter.segment(given, [mask_of(one) for one in found])
        for one, (image, pixel_format) in zip(found, expected, strict=True):
            assert np.array_equal(one, python(PythonFrame(image, pixel_format)))
