"""Wrong calls: a status and one line, never a crash.

`runtime/cpp/tests/exercise.cpp` has more of them, under sanitizers.
"""

from __future__ import annotations

import ctypes as c
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import dsunet_runtime
from tests.cpp.c_interface import (
    ARGUMENT,
    IMAGE,
    MEMORY,
    NV12,
    CallError,
    Description,
    Frame,
    Library,
    Mask,
    Options,
    Segmenter,
    SelfTestResult,
    mask_of,
    packed,
)  # fmt: skip
from tests.runtime import artifacts

HEIGHT, WIDTH = 6, 8


@pytest.fixture
def segmenter(library: Library, path: Path) -> Iterator[Segmenter]:
    with library.open(path, threads=1) as opened:
        yield opened


@pytest.fixture
def image() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


@functools.cache
def _later_version(kind: type[c.Structure]) -> Any:
    return type("Later", (kind,), {"_fields_": (("new", c.c_int64 * 3),)})


def later(kind: type[c.Structure], **values: Any) -> Any:
    """A struct of a later version, with fields at its end that this one does not know."""
    struct = _later_version(kind)(**values)
    struct.struct_size = c.sizeof(struct)
    return struct


class TestStructs:
    def test_arrays_of_a_later_version(
        self, segmenter: Segmenter, image: NDArray[np.uint8]
    ) -> None:
        images = [image, image[::-1].copy(), image[:3].copy()]
        levels = [np.zeros(one.shape[:2], np.uint8) for one in images]
        frames = [_as_later(packed(one)) for one in images]
        masks = [_as_later(mask_of(one)) for one in levels]
        segmenter.library.require(
            segmenter.library.calls.dsunet_segment(
                segmenter.handle, (type(frames[0]) * 3)(*frames), (type(masks[0]) * 3)(*masks), 3
            )
        )
        for one, mask in zip(images, levels, strict=True):
            assert np.array_equal(mask, artifacts.expected_frames_mask(one))

    def test_fields_of_a_later_version_that_are_set(
        self, segmenter: Segmenter, image: NDArray[np.uint8]
    ) -> None:
        levels = np.zeros((HEIGHT, WIDTH), np.uint8)
        frames, masks = [_as_later(packed(image))] * 2, [_as_later(mask_of(levels))] * 2
        for kind, given in (("frames", frames), ("masks", masks)):
            array = (type(given[0]) * 2)(*given)
            array[1].new[1] = 1
            both = [array if kind == "frames" else (type(frames[0]) * 2)(*frames)]
            both.append(array if kind == "masks" else (type(masks[0]) * 2)(*masks))
            status = segmenter.library.calls.dsunet_segment(segmenter.handle, *both, 2)
            message = segmenter.library.calls.dsunet_last_error().decode()
            assert status == ARGUMENT
            assert message.startswith(f"{kind}[1] sets fields that this version of dsunet")
        assert not levels.any()

    def test_arrays_of_mixed_versions(self, segmenter: Segmenter, image: NDArray[np.uint8]) -> None:
        levels = np.zeros((HEIGHT, WIDTH), np.uint8)
        second = packed(image)
        second.struct_size = 0  # `dsunet_frame frames[2] = {DSUNET_FRAME_INIT};`
        with pytest.raises(CallError, match=r"^frames\[1\] has another struct_size than frames"):
            segmenter.segment([packed(image), second], [mask_of(levels), mask_of(levels)])
        other = mask_of(levels)
        other.struct_size += 8
        with pytest.raises(CallError, match=r"^masks\[1\] has another struct_size than masks"):
            segmenter.segment([packed(image)] * 2, [mask_of(levels), other])

    def test_results_of_a_later_version_keep_what_is_unknown(self, segmenter: Segmenter) -> None:
        description = later(Description)
        description.new[:] = [-1, -1, -1]
        size = description.struct_size
        segmenter.library.require(
            segmenter.library.calls.dsunet_describe(segmenter.handle, c.byref(description))
        )
        assert description.provider == b"cpu"
        assert description.struct_size == size
        assert list(description.new) == [-1, -1, -1]

    def test_results_of_an_earlier_version_are_not_written_beyond(
        self, segmenter: Segmenter
    ) -> None:
        description = Description()
        description.struct_size = Description.provider.offset
        description.provider = b"?"
        segmenter.library.require(
            segmenter.library.calls.dsunet_describe(segmenter.handle, c.byref(description))
        )
        assert description.is_probability == 1
        assert description.width.minimum == 1
        assert description.provider == b"?"

    @pytest.mark.parametrize("size", [0, 1, 7, 12, 4104, 1 << 63])
    @pytest.mark.parametrize("kind", [Options, Frame, Mask, Description, SelfTestResult])
    def test_no_size(self, segmenter: Segmenter, path: Path, size: int, kind: Any) -> None:
        library, handle = segmenter.library, segmenter.handle
        struct = kind()
        struct.struct_size = size
        frame, mask = Frame(), Mask()
        calls = library.calls
        status = {
            Options: lambda: calls.dsunet_open(
                os.fsencode(path), c.byref(struct), c.byref(c.c_void_p())
            ),
            Frame: lambda: calls.dsunet_segment(handle, c.byref(struct), c.byref(mask), 1),
            Mask: lambda: calls.dsunet_segment(handle, c.byref(frame), c.byref(struct), 1),
            Description: lambda: calls.dsunet_describe(handle, c.byref(struct)),
            SelfTestResult: lambda: calls.dsunet_selftest(handle, c.byref(struct)),
        }[kind]()
        assert status == ARGUMENT
        assert b"has no valid struct_size: initialise it with DSUNET_" in calls.dsunet_last_error()


def _as_later(struct: Any) -> Any:
    values = {name: getattr(struct, name) for name, _ in struct._fields_ if name != "struct_size"}
    return later(type(struct), **values)


class TestFrames:
    FRAMES = (
        ({"data": None}, "the frame's data is NULL"),
        ({"width": 0}, "a frame of 0×6 .* is empty or too large: sides are 1 to 1048576"),
        ({"height": -1}, "a frame of 8×-1 .* is empty or too large"),
        ({"width": (1 << 20) + 1}, "is empty or too large"),
        ({"stride": 23}, "^stride is 23 bytes and a row has 24: give the bytes"),
        ({"stride": -23}, "^stride is -23 bytes and a row has 24: give the bytes"),
        ({"stride": -(1 << 63)}, "^stride is -9223372036854775808 bytes"),
        ({"stride": 1 << 40}, "^stride is 1099511627776 bytes"),
        ({"format": 5}, "^unknown pixel format 5: use a dsunet_pixel_format"),
        ({"format": -1}, "^unknown pixel format -1"),
        ({"encoding": 4}, "^unknown encoding 4: use a dsunet_yuv_encoding"),
        ({"x": 1}, r"^the region 0×0 at \(1, 0\) is not inside the frame of 8×6 .*: clip it"),
        ({"region_width": 8, "region_height": 7}, "^the region 8×7 .* is not inside"),
        ({"x": 1, "region_width": 8, "region_height": 1}, "^the region 8×1 .* is not inside"),
        ({"y": -1, "region_width": 8, "region_height": 1}, "^the region 8×1 .* is not inside"),
        ({"x": 2**31 - 1, "region_width": 2**31 - 1, "region_height": 1}, "is not inside"),
        ({"format": NV12, "stride": -8}, "needs its chroma: point it to the first row"),
        ({"format": NV12, "chroma_stride": 7}, "^chroma_stride is 7 bytes and a row has 8"),
    )

    @pytest.mark.parametrize(("fields", "match"), FRAMES)
    def test_are_refused(
        self, segmenter: Segmenter, image: NDArray[np.uint8], fields: dict[str, Any], match: str
    ) -> None:
        levels = np.full((HEIGHT, WIDTH), 7, np.uint8)
        frame = packed(image)
        for name, value in fields.items():
            setattr(frame, name, value)
        with pytest.raises(CallError, match=match) as caught:
            # The first frame is right, and its mask is not written either.
            segmenter.segment([packed(image), frame], [mask_of(levels), mask_of(levels)])
        assert caught.value.status == IMAGE
        assert "\n" not in str(caught.value)
        assert (levels == 7).all()

    MASKS = (
        ({"data": None}, "the mask's data is NULL"),
        ({"stride": 7}, "^the mask's stride is 7 bytes and a row has 8: give the bytes"),
        ({"stride": -(1 << 63)}, "^the mask's stride is -9223372036854775808 bytes"),
        ({"threshold": 256}, "^the threshold is 256: it must be 1 to 255, or 0 for levels"),
        ({"threshold": -1}, "^the threshold is -1"),
    )

    @pytest.mark.parametrize(("fields", "match"), MASKS)
    def test_masks(
        self, segmenter: Segmenter, image: NDArray[np.uint8], fields: dict[str, Any], match: str
    ) -> None:
        mask = mask_of(np.zeros((HEIGHT, WIDTH), np.uint8))
        for name, value in fields.items():
            setattr(mask, name, value)
        with pytest.raises(CallError, match=match) as caught:
            segmenter.segment([packed(image)], [mask])
        assert caught.value.status == IMAGE

    def test_sizes_that_the_artifact_does_not_take(self, library: Library, tmp_path: Path) -> None:
        path = artifacts.frames(tmp_path / "a.onnx", height=16, width=20)
        image = np.zeros((16, 21, 3), np.uint8)
        with library.open(path) as c_segmenter, dsunet_runtime.load(path) as python:
            with pytest.raises(dsunet_runtime.ImageError) as expected:
                python(image)
            with pytest.raises(CallError) as caught:
                c_segmenter(image)
        assert str(caught.value) == str(expected.value)

    def test_more_frames_than_there_can_be(self, segmenter: Segmenter) -> None:
        calls, frame, mask = segmenter.library.calls, Frame(), Mask()
        for count in (1 << 20 | 1, 1 << 63, (1 << 64) - 1):
            assert calls.dsunet_segment(segmenter.handle, c.byref(frame), c.byref(mask), count) == 1
            assert b"give at most 1,048,576 frames at once" in calls.dsunet_last_error()

    def test_a_batch_beyond_the_memory(self, library: Library, tmp_path: Path) -> None:
        """Before Linux ends the process; the sentence is Python's."""
        path = artifacts.frames(tmp_path / "a.onnx", batch=1 << 20)
        image = np.zeros((500, 500, 3), np.uint8)
        with library.open(path) as c_segmenter, dsunet_runtime.load(path) as python:
            with pytest.raises(dsunet_runtime.BackendError) as expected:
                python(image)
            with pytest.raises(CallError) as caught:
                c_segmenter(image)
            assert caught.value.status == MEMORY
            (mask,) = c_segmenter.library.open(artifacts.frames(tmp_path / "b.onnx"))(
                image
            )  # the process goes on
            assert not mask.any()
        assert str(caught.value).split(" GB ")[0] == str(expected.value).split(" GB ")[0]
        assert str(caught.value).endswith("of memory are available: use a smaller batch")


class TestHandles:
    def test_after_closing(self, segmenter: Segmenter, image: NDArray[np.uint8]) -> None:
        segmenter.close()
        assert not segmenter.handle
        segmenter.close()
        for call in (segmenter.describe, segmenter.selftest, lambda: segmenter(image)):
            with pytest.raises(CallError, match="is NULL: it was never opened, or is closed") as e:
                call()  # type: ignore[operator]
            assert e.value.status == ARGUMENT

    def test_null(self, library: Library, path: Path) -> None:
        calls = library.calls
        calls.dsunet_close(None)
        assert calls.dsunet_open(os.fsencode(path), None, None) == ARGUMENT
        handle = c.c_void_p(1)
        assert calls.dsunet_open(None, None, c.byref(handle)) == ARGUMENT
        assert not handle
        assert b"path is empty" in calls.dsunet_last_error()
        assert calls.dsunet_open(b"", None, c.byref(handle)) == ARGUMENT

    def test_options_may_be_null(self, library: Library, path: Path) -> None:
        handle = c.c_void_p()
        library.require(library.calls.dsunet_open(os.fsencode(path), None, c.byref(handle)))
        Segmenter(library, handle).close()
