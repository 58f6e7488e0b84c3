"""Masks are those of Python on the same artifact and provider, byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import dsunet_runtime
from dsunet_runtime.artifact.manifest import SelfTestCase, Verification
from tests.cpp.builds import WITH_ALL_HEADERS
from tests.cpp.c_interface import BGR, MEMORY, CallError, Library, Segmenter, mask_of, packed
from tests.runtime import artifacts

SIZES = ((40, 60), (33, 17), (1, 1), (1, 9), (7, 1), (40, 60), (121, 255))


def images(sizes: tuple[tuple[int, int], ...] = SIZES) -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(3)
    return [random.integers(0, 256, (*size, 3), np.uint8) for size in sizes]


@WITH_ALL_HEADERS
@pytest.mark.parametrize("batch", ["batch", 1, 3])
def test_batches_of_mixed_sizes(library: Library, tmp_path: Path, batch: int | str) -> None:
    path = artifacts.frames(tmp_path / "a.onnx", batch=batch)
    given = images()
    with library.open(path) as segmenter, dsunet_runtime.load(path) as python:
        for found, expected in zip(segmenter(*given), python.batch(given), strict=True):
            assert np.array_equal(found, expected)


def test_of_a_stretching_network(library: Library, tmp_path: Path) -> None:
    path = artifacts.stretching(tmp_path / "a.onnx", np.float32([3, -1, 2]))
    given = images()
    with library.open(path) as segmenter, dsunet_runtime.load(path) as python:
        for image in given:
            assert np.array_equal(segmenter(image)[0], python(image))


@pytest.mark.parametrize("finds", [True, False])
def test_of_a_verified_network_that_computes_nan(
    library: Library, tmp_path: Path, finds: bool
) -> None:
    """Noticed if the self-test's references say that it finds something in the test images."""
    case = SelfTestCase(0, 120, 160, (0.0,) * 64, (0.0, 90.0 if finds else 8.0) * 32, 1.0, 1.0)
    verified = Verification("random 20, 30", "mask", 0, 0, 1, 1, "levels")
    weights = np.full(3, np.nan, np.float32)
    path = artifacts.frames(
        tmp_path / "a.onnx", weights=weights, verification=(verified,), selftest=(case,)
    )
    (image, *_) = images()
    with library.open(path) as segmenter:
        if finds:
            with pytest.raises(CallError, match=r"computes NaN or infinity: .*--no-verify"):
                segmenter(image)
        else:
            assert not segmenter(image)[0].any()


class TestAdjacentFrames:
    """Batches are computed where they lie: here the backend has no memory to copy them to."""

    @pytest.fixture
    def segmenter(
        self, library: Library, tmp_path: Path, backends: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Segmenter]:
        path = artifacts.frames(tmp_path / "a.onnx")
        monkeypatch.setenv("DSUNET_STAND_IN_NO_BUFFERS", "1")
        with library.open(path, backends=backends) as segmenter:
            yield segmenter

    @pytest.mark.parametrize("threshold", [0, 90])
    @pytest.mark.parametrize("size", [(5, 7), (1, 9)])
    def test_are_not_copied(
        self, segmenter: Segmenter, size: tuple[int, int], threshold: int
    ) -> None:
        frames = np.stack(images((size,) * 4))
        masks = np.zeros((4, *size), np.uint8)
        segmenter.segment(
            [packed(one) for one in frames], [mask_of(one, threshold) for one in masks]
        )
        expected = artifacts.expected_frames_mask(frames)
        if threshold:
            expected = np.where(expected >= threshold, 255, 0)
        assert np.array_equal(masks, expected)

    @pytest.mark.parametrize(
        "change",
        [
            lambda frames, masks: frames.reverse(),
            lambda frames, masks: masks.reverse(),
            lambda frames, masks: frames.pop(1),
            lambda frames, masks: setattr(frames[3], "format", BGR),
            lambda frames, masks: setattr(frames[3], "stride", -frames[3].stride),
        ],
    )  # fmt: skip
    def test_others_are(self, segmenter: Segmenter, change: Callable[..., object]) -> None:
        pixels, levels = np.stack(images(((5, 7),) * 4)), np.zeros((4, 5, 7), np.uint8)
        frames, masks = [packed(one) for one in pixels], [mask_of(one) for one in levels]
        change(frames, masks)
        with pytest.raises(CallError) as caught:
            segmenter.segment(frames, masks[: len(frames)])
        assert caught.value.status == MEMORY

    def test_a_batch_that_is_filled_up_is(
        self, library: Library, tmp_path: Path, backends: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = artifacts.frames(tmp_path / "a.onnx", batch=3)
        monkeypatch.setenv("DSUNET_STAND_IN_NO_BUFFERS", "1")
        given = np.stack(images(((5, 7),) * 3))
        with library.open(path, backends=backends) as segmenter:
            masks = np.zeros((3, 5, 7), np.uint8)
            segmenter.segment([packed(one) for one in given], [mask_of(one) for one in masks])
            assert np.array_equal(masks, artifacts.expected_frames_mask(given))
            with pytest.raises(CallError) as caught:
                segmenter.segment([packed(given[0])], [mask_of(masks[0])])
            assert caught.value.status == MEMORY


@pytest.mark.parametrize("batch", ["batch", 3])
def test_of_adjacent_frames(library: Library, tmp_path: Path, batch: int | str) -> None:
    """With ONNX Runtime: several batches, the last of which is filled up."""
    path = artifacts.frames(tmp_path / "a.onnx", batch=batch)
    given = np.stack(images(((5, 7),) * 7))
    masks = np.zeros((7, 5, 7), np.uint8)
    with library.open(path) as segmenter:
        for _ in range(2):
            segmenter.segment([packed(one) for one in given], [mask_of(one) for one in masks])
            assert np.array_equal(masks, artifacts.expected_frames_mask(given))
            given, masks = 255 - given, np.zeros_like(masks)
