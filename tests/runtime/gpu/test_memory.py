"""What is allocated while an engine runs, and what is left when it has run."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsunet_runtime
from dsunet_runtime import DeviceTensor, Segmenter
from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.artifact.shapes import input_ranges
from dsunet_runtime.cuda import Device
from tests.runtime import artifacts
from tests.runtime.gpu.process_memory import BLOCK, process_memory
from tests.runtime.test_segmenter import random_image

pytestmark = pytest.mark.gpu

RUNS = 10_000
SHAPES = [(1, 64, 64), (4, 64, 64), (2, 33, 9), (1, 1, 1), (3, 17, 64), (2, 32, 32)]


def make_allocator(trt: Any) -> Any:
    """What TensorRT allocates with, counting."""
    driver = pytest.importorskip("cuda.bindings.driver")

    class Allocator(trt.IGpuAllocator):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IGpuAllocator.__init__(self)
            self.calls = 0
            self.live: set[int] = set()

        def allocate(self, size: int, alignment: int, flags: int) -> int | None:
            self.calls += 1
            status, pointer = driver.cuMemAlloc(size)
            if status != driver.CUresult.CUDA_SUCCESS:
                return None
            self.live.add(int(pointer))
            return int(pointer)

        def allocate_async(self, size: int, alignment: int, flags: int, stream: int) -> int | None:
            return self.allocate(size, alignment, flags)

        def reallocate(self, address: int, alignment: int, new_size: int) -> None:
            """Not offered."""

        def deallocate(self, memory: int) -> bool:
            if memory:
                self.live.remove(int(memory))
                driver.cuMemFree(memory)  # which waits for the GPU
            return True

        def deallocate_async(self, memory: int, stream: int) -> bool:
            return self.deallocate(memory)

    return Allocator()


@pytest.fixture
def allocator(flavor: Flavor, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Counts what TensorRT allocates for engines that are loaded from now on."""
    trt = flavor.load()
    allocator, make_runtime = make_allocator(trt), trt.Runtime

    def make_counted_runtime(log: Any) -> Any:
        runtime = make_runtime(log)
        runtime.gpu_allocator = allocator
        return runtime

    monkeypatch.setattr(trt, "Runtime", make_counted_runtime)
    return allocator


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def tensor(device: Device, stack: ExitStack, *shape: int) -> DeviceTensor:
    """Of uint8, in memory of its own."""
    memory = stack.enter_context(device.allocate(math.prod(shape)))
    return DeviceTensor(memory.pointer, shape, "uint8")


def test_runs_allocate_nothing(
    allocator: Any, flavor: Flavor, nano: Path, device: Device, stack: ExitStack
) -> None:
    segmenter = stack.enter_context(dsunet_runtime.load(nano))
    assert allocator.calls > 0, "what the engine itself takes is not counted"
    stream = stack.enter_context(device.stream())
    ranges = input_ranges(segmenter.manifest)["image"]
    for sizes in ([r.maximum for r in ranges], [r.optimum for r in ranges]):
        shape = tuple(size for size in sizes if size is not None)
        inputs = {"image": tensor(device, stack, *shape)}
        outputs = {"mask": tensor(device, stack, *shape[:3])}
        for _ in range(3):
            segmenter.run_device(inputs, outputs, stream=stream)
        stream.synchronize()
        calls = allocator.calls
        for _ in range(50):
            segmenter.run_device(inputs, outputs, stream=stream)
        stream.synchronize()
        assert allocator.calls == calls
    if flavor is Flavor.RTX:
        # TensorRT's own word for the same: one that allocates at run time cannot be captured.
        context = segmenter._open()._execution._context  # type: ignore[attr-defined]
        assert context.is_stream_capturable(stream.handle)


def test_everything_is_freed(allocator: Any, engine: Path) -> None:
    with dsunet_runtime.load(engine) as segmenter:
        segmenter(random_image(64, 64))
        assert allocator.live
    gc.collect()
    assert not allocator.live


class TestLeaks:
    def test_from_the_host(self, segmenter: Segmenter, device: Device) -> None:
        images = [random_image(64, 64, seed) for seed in range(4)]
        for _ in range(200):
            segmenter.batch(images)
        gc.collect()
        used, resident = process_memory(device.gpu), resident_bytes()
        for _ in range(RUNS):
            segmenter.batch(images)
        gc.collect()
        # A block is less than 10,000 times the least that can be allocated, 256 bytes.
        assert process_memory(device.gpu) <= used + BLOCK
        # The same tolerance, for what allocators keep.
        assert resident_bytes() - resident < 10_000_000

    def test_on_the_device(self, segmenter: Segmenter, device: Device, stack: ExitStack) -> None:
        """With shapes and addresses that change with every run."""
        stream = stack.enter_context(device.stream())
        sides = []
        for index, shape in enumerate(SHAPES * 4):
            image, mask = tensor(device, stack, *shape, 3), tensor(device, stack, *shape)
            content = np.stack(
                [random_image(*shape[1:], seed=8 * index + i) for i in range(shape[0])]
            )
            with device.pin(content.nbytes) as source:
                source.array[:] = content.reshape(-1)
                device.to_device(image.pointer, source.array, stream)
                stream.synchronize()
            sides.append((image, mask, artifacts.expected_frames_mask(content)))

        def run(count: int) -> None:
            for index in range(count):
                image, mask, _ = sides[index * 7 % len(sides)]
                segmenter.run_device({"image": image}, {"mask": mask}, stream=stream)
            stream.synchronize()

        run(20 * len(sides))
        gc.collect()
        used, resident = process_memory(device.gpu), resident_bytes()
        run(RUNS)
        gc.collect()
        assert process_memory(device.gpu) <= used + BLOCK
        assert resident_bytes() - resident < 10_000_000
        for _, mask, expected in sides:
            with device.pin(expected.size) as target:
                device.to_host(target.array, mask.pointer, stream)
                stream.synchronize()
                found = target.array.reshape(expected.shape).copy()
            np.testing.assert_array_equal(found, expected)

    def test_loading_and_closing(self, engine: Path, device: Device) -> None:
        def load_and_close() -> None:
            with dsunet_runtime.load(engine) as segmenter:
                segmenter(random_image(64, 64))

        for _ in range(3):
            load_and_close()
        used = process_memory(device.gpu)
        for _ in range(20):
            load_and_close()
        assert process_memory(device.gpu) <= used + BLOCK


def resident_bytes() -> int:
    """Host memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096
