"""Several threads and handles; and what a call allocates."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.cpp.builds import run
from tests.cpp.c_interface import CallError, Library
from tests.runtime import artifacts

THREADS, ROUNDS = 8, 20


def in_threads(work: Callable[[int], None]) -> None:
    """Begin at the same time in several threads; raise what one of them raises."""
    start = threading.Barrier(THREADS)

    def one(number: int) -> None:
        start.wait(10)
        work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, range(THREADS)))


@pytest.mark.parametrize("batch", ["batch", 2])
def test_one_handle(library: Library, tmp_path: Path, batch: int | str) -> None:
    path = artifacts.frames(tmp_path / "a.onnx", batch=batch)
    with library.open(path, threads=2) as segmenter:

        def work(number: int) -> None:
            random = np.random.default_rng(number)
            for _ in range(ROUNDS):
                sizes = random.integers(1, 90, (4, 2))
                images = [random.integers(0, 256, (*size, 3), np.uint8) for size in sizes]
                images.append(images[0].copy())
                for image, mask in zip(images, segmenter(*images), strict=True):
                    assert np.array_equal(mask, artifacts.expected_frames_mask(image))

        in_threads(work)


def test_handles_that_are_opened_and_closed(library: Library, tmp_path: Path) -> None:
    paths = []
    for number in range(THREADS):
        weights = np.float32([number, 1, 2]) / np.float32(16)
        paths.append(artifacts.frames(tmp_path / f"{number}.onnx", weights=weights))

    def work(number: int) -> None:
        image = np.random.default_rng(number).integers(0, 256, (9, 11, 3), np.uint8)
        red, green, blue = np.moveaxis(image.astype(int), -1, 0)
        for _ in range(ROUNDS // 4):
            with library.open(paths[number], threads=1) as segmenter:
                (mask,) = segmenter(image)
            assert np.array_equal(mask, (number * red + green + 2 * blue) // 16)

    in_threads(work)


def test_each_thread_has_its_own_message(library: Library, tmp_path: Path) -> None:
    def work(number: int) -> None:
        for round_ in range(ROUNDS):
            path = tmp_path / f"{number}-{round_}.onnx"
            with pytest.raises(CallError) as caught:
                library.open(path)
            assert str(caught.value) == f"{path}: No such file or directory"

    in_threads(work)


def test_a_blank_network_in_threads(library: Library, tmp_path: Path) -> None:
    """The first to see a blank mask computes test images; all of them fail."""
    path = artifacts.stretching(tmp_path / "a.onnx", np.full(3, np.nan, np.float32))
    with library.open(path, threads=1) as segmenter:

        def work(number: int) -> None:
            with pytest.raises(CallError, match="computes NaN or infinity"):
                segmenter(np.full((20, 20 + number, 3), number, np.uint8))

        in_threads(work)


def test_a_steady_state_allocates_what_onnx_runtime_does(
    build: Path, onnxruntime_library: Path, tmp_path: Path
) -> None:
    program = build / "dsunet_allocations"
    if not program.exists():
        pytest.skip("the test programs are not built: configure with -DDSUNET_TESTS=ON")
    path = artifacts.frames(tmp_path / "a.onnx")
    lines = run(program, path, onnxruntime_library).splitlines()
    counts = {name: (int(ours), int(bare)) for name, ours, bare in map(_fields, lines)}
    assert len(counts) == 9
    assert all(bare > 0 for _, bare in counts.values())  # the counter counts
    assert {name: ours - bare for name, (ours, bare) in counts.items() if ours != bare} == {}


def _fields(line: str) -> list[str]:
    return line.split("\t")
