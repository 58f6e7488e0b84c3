"""Engines in C++ on the stand-ins: frames in GPU memory and the caller's streams."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cpp import c_interface
from tests.cpp.c_interface import BGR, NV12, RGB, CallError, Library
from tests.cpp.engine_cases import LAYOUTS, Batch, Case, Layout, check, enqueue, images
from tests.cpp.stand_ins import StandIn
from tests.runtime import artifacts
from tests.runtime.fake_cuda import GPU


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("default", [None, 1, 2, "own"])
def test_runs_in_order_with_the_work_on_the_stream(
    case: Case, gpu: StandIn, default: Any, interleaved: int
) -> None:
    gpu.set("interleaved", interleaved)
    batch = Batch(gpu, 2, 5, 7)
    stream = gpu.stream() if default == "own" else default
    with case.open() as segmenter:
        runs = []
        for seed in range(4):  # into the same memory, without waiting in between
            given = np.stack(images((5, 7), (5, 7), seed=seed))
            found = np.zeros(2 * 5 * 7, np.uint8)
            gpu.copy(batch.frames.array, given, stream or 0)
            enqueue(segmenter, batch.given, batch.wanted, stream)
            gpu.copy(found, batch.masks.array, stream or 0)
            runs.append((given, found))
        assert not runs[-1][1].any()  # nothing has waited
        gpu.synchronize(stream or 0)
        for given, found in runs:
            batch.check(given, found)
    assert gpu.calls("cuLaunchKernel") == 0
    assert gpu.calls("cuModuleLoadData") == 0


def test_streams_and_threads_share_one_context(case: Case, gpu: StandIn) -> None:
    gpu.set("interleaved", 1)

    def work(seed: int) -> None:
        stream, batch = gpu.stream(), Batch(gpu, 1, 6 + seed, 9)
        for turn in range(6):
            given = np.stack(images((6 + seed, 9), seed=10 * seed + turn))
            found = np.zeros((6 + seed) * 9, np.uint8)
            gpu.copy(batch.frames.array, given, stream)
            frame = batch.given[0]
            frame.format = BGR if turn % 2 else RGB
            enqueue(segmenter, [frame], batch.wanted, stream)
            gpu.copy(found, batch.masks.array, stream)
            check(segmenter, images((4, 4 + seed)))
            gpu.synchronize(stream)
            batch.check(given[..., ::-1] if turn % 2 else given, found)

    with case.open() as segmenter, concurrent.futures.ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))


def test_threads_enqueue_at_once(case: Case, gpu: StandIn) -> None:
    gpu.set("slow", 1)
    batches = [Batch(gpu, count, 4, 5) for count in (1, 2, 3)]
    streams = [gpu.stream() for _ in batches]
    given = [np.stack(images(*[(4, 5)] * batch.shape[0])) for batch in batches]
    for batch, pixels in zip(batches, given, strict=True):
        batch.frames.array[:] = pixels.reshape(-1)

    def work(batch: Batch, stream: int) -> None:
        for _ in range(20):
            enqueue(segmenter, batch.given, batch.wanted, stream)

    with case.open() as segmenter, concurrent.futures.ThreadPoolExecutor(3) as pool:
        list(pool.map(work, batches, streams))
        for stream in streams:
            gpu.synchronize(stream)
    for batch, pixels in zip(batches, given, strict=True):
        batch.check(pixels, batch.masks.array)


def test_closing_waits_for_the_gpu(case: Case, gpu: StandIn) -> None:
    batch, stream = Batch(gpu, 1, 5, 7), gpu.stream()
    (given,) = images((5, 7))
    batch.frames.array[:] = given.reshape(-1)
    with case.open() as segmenter:
        enqueue(segmenter, batch.given, batch.wanted, stream)
    batch.check(given[None], batch.masks.array)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: str(LAYOUTS.index(layout)))
@pytest.mark.parametrize("offset", [0, 1])
def test_frames_of_every_layout(rtx: Case, gpu: StandIn, layout: Layout, offset: int) -> None:
    """The kernels write what the conversion on the host does; an offset leaves the alignment."""
    count, stream = 3, gpu.stream()
    content = np.random.default_rng(5).integers(0, 256, (count, layout.size), np.uint8)
    frames = [gpu.allocate(layout.size + 1) for _ in range(count)]
    masks = [gpu.allocate(layout.mask_size + 1) for _ in range(count)]
    expected = np.full((count, layout.mask_size), 7, np.uint8)
    for frame, mask, pixels in zip(frames, masks, content, strict=True):
        frame.array[offset:][: layout.size] = pixels
        mask.array[:] = 7
    with rtx.open() as segmenter:
        segmenter.segment(
            [layout.frame(pixels.ctypes.data) for pixels in content],
            [layout.mask(levels.ctypes.data) for levels in expected],
        )
        enqueue(
            segmenter,
            [layout.frame(frame.address + offset) for frame in frames],
            [layout.mask(mask.address + offset) for mask in masks],
            stream,
        )
        gpu.synchronize(stream)
    for mask, levels in zip(masks, expected, strict=True):
        assert np.array_equal(mask.array[offset:][: layout.mask_size], levels)
    if layout.threshold == 0:
        assert len(np.unique(expected)) > 1 or expected.size <= count
    assert gpu.calls("cuLaunchKernel") == 2 * count  # not adjacent


def test_buffers_for_conversion_grow_and_stay(case: Case, gpu: StandIn) -> None:
    stream = gpu.stream()
    with case.open() as segmenter:
        results = []
        for side in (8, 24, 8, 24):  # without waiting in between
            batch = Batch(gpu, 2, side, side)
            given = np.stack(images((side, side), (side, side), seed=side))
            batch.frames.array[:] = given.reshape(-1)
            for frame in batch.given:
                frame.format = BGR
            before = gpu.calls("cuMemAlloc")
            enqueue(segmenter, batch.given, batch.wanted, stream)
            results.append((batch, given, gpu.calls("cuMemAlloc") - before))
        gpu.synchronize(stream)
    for batch, given, _ in results:
        batch.check(given[..., ::-1], batch.masks.array)
    assert [allocations for *_, allocations in results] == [1, 1, 0, 0]


def test_only_what_must_be_converted_is(case: Case, gpu: StandIn) -> None:
    batch, stream = Batch(gpu, 2, 8, 8), gpu.stream()
    given = np.stack(images((8, 8), (8, 8)))
    batch.frames.array[:] = given.reshape(-1)
    with case.open() as segmenter:
        for threshold, launches in ((0, 0), (90, 2)):
            for mask in batch.wanted:
                mask.threshold = threshold
            before = gpu.calls("cuLaunchKernel")
            enqueue(segmenter, batch.given, batch.wanted, stream)
            assert gpu.calls("cuLaunchKernel") - before == launches
            gpu.synchronize(stream)
    expected = np.where(artifacts.expected_frames_mask(given) >= 90, 255, 0)
    assert np.array_equal(batch.masks.array.reshape(2, 8, 8), expected)


def test_memory_without_the_alignment_is_converted(case: Case, gpu: StandIn) -> None:
    batch, stream = Batch(gpu, 3, 8, 8), gpu.stream()  # a mask has 64 bytes
    given = np.stack(images((8, 8), (8, 8), (8, 8)))
    batch.frames.array[:] = given.reshape(-1)
    with case.open() as segmenter:
        for first, launches in ((0, 0), (1, 4)):
            batch.masks.array[:] = 0
            before = gpu.calls("cuLaunchKernel")
            enqueue(segmenter, batch.given[first:], batch.wanted[first:], stream)
            gpu.synchronize(stream)
            assert gpu.calls("cuLaunchKernel") - before == launches
            found = batch.masks.array.reshape(3, 8, 8)[first:]
            assert np.array_equal(found, artifacts.expected_frames_mask(given[first:]))


def test_work_before_a_failure_is_waited_for(case: Case, gpu: StandIn) -> None:
    """The kernel of a call that fails later writes into the buffer of the next call."""
    gpu.set("interleaved", 1)
    content = np.zeros(1, np.uint8)
    with case.open() as segmenter:
        for delay in range(6):
            one, other = Batch(gpu, 1, 8, 8), Batch(gpu, 1, 8, 8)
            given = np.stack(images((8, 8), seed=delay))
            other.frames.array[:] = given.reshape(-1)
            one.given[0].format = other.given[0].format = BGR
            streams = gpu.stream(), gpu.stream()
            for _ in range(delay):
                gpu.copy(content, content, streams[0])
            gpu.fail("enqueueV3")
            with pytest.raises(CallError, match="TensorRT failed"):
                enqueue(segmenter, one.given, one.wanted, streams[0])
            gpu.fail("enqueueV3", 0)
            enqueue(segmenter, other.given, other.wanted, streams[1])
            gpu.synchronize(streams[1])
            other.check(given[..., ::-1], other.masks.array)


@pytest.mark.parametrize("default", [None, 1, 2])
def test_a_default_stream_waits_for_a_call_that_failed(
    case: Case, gpu: StandIn, default: int | None
) -> None:
    """The caller frees frames after that; a kernel may read them still."""
    batch = Batch(gpu, 1, 8, 8)
    batch.given[0].format = BGR
    with case.open() as segmenter:
        gpu.fail("enqueueV3")
        with pytest.raises(CallError, match="TensorRT failed"):
            enqueue(segmenter, batch.given, batch.wanted, default)
        assert gpu.waiting > 0
        gpu.synchronize(default or 0)
        assert gpu.waiting == 0


def on_the_host(gpu: StandIn, size: int) -> int:
    return np.zeros(size, np.uint8).ctypes.data


def on_another_gpu(gpu: StandIn, size: int) -> int:
    return gpu.allocate(size, 1).address


def cut_short(gpu: StandIn, size: int) -> int:
    return gpu.allocate(size - 1).address


@pytest.mark.parametrize("elsewhere", [on_the_host, on_another_gpu, cut_short])
@pytest.mark.parametrize("which", ["frame", "mask", "chroma"])
def test_memory_that_is_not_of_the_gpu(
    case: Case, gpu: StandIn, which: str, elsewhere: Callable[[StandIn, int], int]
) -> None:
    batch, stream = Batch(gpu, 1, 8, 8), gpu.stream()
    if which == "frame":
        batch.given[0].data = elsewhere(gpu, 8 * 8 * 3)
    elif which == "mask":
        batch.wanted[0].data = elsewhere(gpu, 8 * 8)
    else:
        batch.given[0].format = NV12
        batch.given[0].chroma = elsewhere(gpu, 8 * 4)
    name = {"frame": "a frame", "mask": "a mask", "chroma": "the chroma of a frame"}[which]
    with case.open() as segmenter:
        with pytest.raises(CallError) as caught:
            enqueue(segmenter, batch.given, batch.wanted, stream)
        assert caught.value.status == c_interface.IMAGE
        assert str(caught.value) == (
            f"{name} is not in the memory of GPU 0 ({GPU.name}): copy it there, or call "
            f"dsunet_segment for frames in host memory"
        )


def test_batches_that_the_engine_does_not_take(case: Case, gpu: StandIn) -> None:
    stream = gpu.stream()
    with case.open() as segmenter:
        for shape, message in (
            ((5, 8, 8), "the batch has 5 frames and this engine takes 1 to 4"),
            ((1, 65, 8), "the image is 8×65"),
        ):
            batch = Batch(gpu, *shape)
            with pytest.raises(CallError, match=message):
                enqueue(segmenter, batch.given, batch.wanted, stream)
        batch = Batch(gpu, 2, 8, 8)
        batch.given[1].height = 7
        with pytest.raises(CallError, match=r"different sizes, 8×8 and 8×7 \(width×height\)"):
            enqueue(segmenter, batch.given, batch.wanted, stream)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("cuCtxPushCurrent", "CUDA failed: cuCtxPushCurrent: CUDA_ERROR_UNKNOWN"),
        ("cuEventRecord", "CUDA failed: cuEventRecord: CUDA_ERROR_UNKNOWN"),
        ("cuStreamWaitEvent", "CUDA failed: cuStreamWaitEvent: CUDA_ERROR_UNKNOWN"),
        ("cuMemAlloc", "CUDA failed: cuMemAlloc: CUDA_ERROR_UNKNOWN"),
        (
            "cuModuleLoadData",
            "kernels that convert .* loaded .*UNKNOWN.*: update the NVIDIA driver",
        ),
        ("cuModuleGetFunction", "CUDA failed: cuModuleGetFunction: CUDA_ERROR_UNKNOWN"),
        ("cuLaunchKernel", "CUDA failed: cuLaunchKernel: CUDA_ERROR_UNKNOWN"),
        ("enqueueV3", "TensorRT failed: the kernel failed"),
    ],
)
def test_a_call_fails_while_it_enqueues(case: Case, gpu: StandIn, call: str, message: str) -> None:
    batch, stream = Batch(gpu, 1, 8, 8), gpu.stream()
    given = np.stack(images((8, 8)))
    batch.frames.array[:] = given.reshape(-1)
    batch.given[0].format = BGR
    with case.open() as segmenter:
        gpu.fail(call)
        with pytest.raises(CallError, match=message):
            enqueue(segmenter, batch.given, batch.wanted, stream)
        gpu.fail(call, 0)
        enqueue(segmenter, batch.given, batch.wanted, stream)
        gpu.synchronize(stream)
    batch.check(given[..., ::-1], batch.masks.array)


def test_onnx_files_take_host_memory_only(library: Library, tmp_path: Path) -> None:
    path = artifacts.frames(tmp_path / "a.onnx")
    (image,) = images((8, 8))
    levels = np.zeros((8, 8), np.uint8)
    with library.open(path) as segmenter, pytest.raises(CallError, match="engines only"):
        enqueue(segmenter, [c_interface.packed(image)], [c_interface.mask_of(levels)], None)
