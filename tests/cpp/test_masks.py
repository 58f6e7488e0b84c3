"""Masks are those of Python on the same artifact and provider, byte for byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import dsunet_runtime
from tests.cpp.binding import Library
from tests.runtime import artifacts

SIZES = ((40, 60), (33, 17), (1, 1), (1, 9), (7, 1), (40, 60), (121, 255))


def images(sizes: tuple[tuple[int, int], ...] = SIZES) -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(3)
    return [random.integers(0, 256, (*size, 3), np.uint8) for size in sizes]


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
