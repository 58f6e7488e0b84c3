"""The CUDA interface on PyCUDA, for programs that already use it.

Graph capture is not supported: PyCUDA has no function for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dsunet_runtime.cuda import libcuda
from dsunet_runtime.cuda.contract import (
    Cuda,
    Device,
    Event,
    Gpu,
    Memory,
    PinnedMemory,
    Stream,
    version_text,
)
from dsunet_runtime.cuda.errors import failure, no_driver

try:
    import pycuda.driver as driver
except ImportError as error:  # raised by PyCUDA if libcuda is missing
    raise no_driver(error) from error

_NON_BLOCKING = 1


@contextmanager
def _translated() -> Iterator[None]:
    """Translate PyCUDA's errors to BackendError."""
    try:
        yield
    except driver.MemoryError as error:
        raise failure("allocation", str(error), out_of_memory=True) from error
    except driver.Error as error:
        raise failure("PyCUDA", str(error)) from error


class PyCuda(Cuda):
    def __init__(self) -> None:
        try:
            driver.init()
        except driver.Error as error:
            raise no_driver(error) from error

    def version(self) -> str:
        with _translated():
            return version_text(driver.get_driver_version())

    def gpus(self) -> tuple[Gpu, ...]:
        with _translated():
            return tuple(_describe(index) for index in range(driver.Device.count()))

    def open(self, gpu: Gpu) -> Device:
        return _Device(gpu)


def _describe(index: int) -> Gpu:
    device = driver.Device(index)
    major, minor = device.compute_capability()
    return Gpu(index, device.name(), f"{major}.{minor}", device.total_memory(), device.pci_bus_id())


class _Device(Device):
    captures = False

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        with _translated():
            self._context = driver.Device(gpu.index).retain_primary_context()

    @contextmanager
    def current(self) -> Iterator[None]:
        with _translated():
            self._context.push()
        try:
            yield
        finally:
            with _translated():
                driver.Context.pop()

    def holds(self, pointer: int) -> bool:
        return libcuda.device_of(pointer) == self.gpu.index

    def allocate(self, size: int) -> Memory:
        return _Memory(size)

    def pin(self, size: int) -> PinnedMemory:
        return _PinnedMemory(size)

    def stream(self) -> Stream:
        return _Stream()

    def event(self) -> Event:
        return _Event()

    def to_device(self, pointer: int, source: NDArray[Any], stream: Stream) -> None:
        with _translated():
            driver.memcpy_htod_async(pointer, source, cast(_Stream, stream).native)

    def to_host(self, target: NDArray[Any], pointer: int, stream: Stream) -> None:
        with _translated():
            driver.memcpy_dtoh_async(target, pointer, cast(_Stream, stream).native)

    def copy(self, target: int, source: int, size: int, stream: Stream) -> None:
        with _translated():
            driver.memcpy_dtod_async(target, source, size, cast(_Stream, stream).native)

    def close(self) -> None:
        if self._context is None:
            return
        context, self._context = self._context, None
        # PyCUDA releases a primary context only if it is current, and leaves it on the stack.
        with _translated():
            context.push()
            handle = context.handle
            context.detach()
        libcuda.remove_context(handle)


class _Memory(Memory):
    def __init__(self, size: int) -> None:
        with _translated():
            self._allocation = driver.mem_alloc(size)
        self.pointer = int(self._allocation)

    def close(self) -> None:
        if self.pointer:
            self.pointer = 0
            with _translated():
                self._allocation.free()


class _PinnedMemory(PinnedMemory):
    def __init__(self, size: int) -> None:
        with _translated():
            self.array = driver.pagelocked_empty(size, np.uint8)
        self._allocation: Any = self.array.base

    def close(self) -> None:
        if self._allocation is not None:
            allocation, self._allocation = self._allocation, None
            del self.array
            with _translated():
                allocation.free()


class _Stream(Stream):
    def __init__(self) -> None:
        with _translated():
            self.native: Any = driver.Stream(_NON_BLOCKING)
        self.handle = self.native.handle

    def synchronize(self) -> None:
        with _translated():
            self.native.synchronize()

    def close(self) -> None:
        # PyCUDA destroys the stream with the last reference.
        self.native = None
        self.handle = 0


class _Event(Event):
    def __init__(self) -> None:
        self._event = libcuda.create_event()

    def record(self, stream: int) -> None:
        libcuda.record_event(self._event, stream)

    def wait(self, stream: int) -> None:
        libcuda.wait_for_event(stream, self._event)

    def synchronize(self) -> None:
        libcuda.synchronize_event(self._event)

    def close(self) -> None:
        if self._event:
            event, self._event = self._event, 0
            libcuda.destroy_event(event)
