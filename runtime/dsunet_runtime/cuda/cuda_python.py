"""The CUDA interface on cuda-python, NVIDIA's binding, which has wheels and needs no toolkit."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from cuda.bindings import driver
from numpy.typing import NDArray

from dsunet_runtime.cuda.contract import (
    Capture,
    Cuda,
    Device,
    Event,
    Gpu,
    Graph,
    Memory,
    PinnedMemory,
    Stream,
    version_text,
)
from dsunet_runtime.cuda.errors import failure, no_driver

_NAME_LENGTH = 256


def _call(function: Callable[..., tuple[Any, ...]], *arguments: Any) -> Any:
    """Call the driver and return its results.  Raises BackendError if it reports an error."""
    status, *results = function(*arguments)
    if status != driver.CUresult.CUDA_SUCCESS:
        raise failure(
            function.__name__,
            driver.CUresult(status).name,
            out_of_memory=status == driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY,
        )
    return results[0] if len(results) == 1 else results


class CudaPython(Cuda):
    def __init__(self) -> None:
        try:
            (status,) = driver.cuInit(0)
        except Exception as error:  # the type for a missing libcuda depends on the version
            raise no_driver(error) from error
        if status != driver.CUresult.CUDA_SUCCESS:
            raise no_driver(driver.CUresult(status).name)

    def version(self) -> str:
        return version_text(_call(driver.cuDriverGetVersion))

    def gpus(self) -> tuple[Gpu, ...]:
        return tuple(_describe(index) for index in range(_call(driver.cuDeviceGetCount)))

    def open(self, gpu: Gpu) -> Device:
        return _Device(gpu)


def _describe(index: int) -> Gpu:
    device = _call(driver.cuDeviceGet, index)
    attribute = driver.CUdevice_attribute
    major, minor = (
        _call(driver.cuDeviceGetAttribute, which, device)
        for which in (
            attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
            attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
        )
    )
    return Gpu(
        index,
        _text(_call(driver.cuDeviceGetName, _NAME_LENGTH, device)),
        f"{major}.{minor}",
        int(_call(driver.cuDeviceTotalMem, device)),
        _text(_call(driver.cuDeviceGetPCIBusId, _NAME_LENGTH, device)),
    )


def _text(value: bytes) -> str:
    return value.partition(b"\0")[0].decode()


class _Device(Device):
    captures = True

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        self._device = _call(driver.cuDeviceGet, gpu.index)
        self._context = _call(driver.cuDevicePrimaryCtxRetain, self._device)

    @contextmanager
    def current(self) -> Iterator[None]:
        _call(driver.cuCtxPushCurrent, self._context)
        try:
            yield
        finally:
            _call(driver.cuCtxPopCurrent)

    def holds(self, pointer: int) -> bool:
        which = driver.CUpointer_attribute
        status, kind = driver.cuPointerGetAttribute(which.CU_POINTER_ATTRIBUTE_MEMORY_TYPE, pointer)
        if status != driver.CUresult.CUDA_SUCCESS:
            return False
        if int(kind) != driver.CUmemorytype.CU_MEMORYTYPE_DEVICE:
            return False
        ordinal = _call(
            driver.cuPointerGetAttribute, which.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, pointer
        )
        return int(ordinal) == self.gpu.index

    def allocate(self, size: int) -> Memory:
        return _Memory(size)

    def pin(self, size: int) -> PinnedMemory:
        return _PinnedMemory(size)

    def stream(self) -> Stream:
        return _Stream()

    def event(self) -> Event:
        return _Event()

    def to_device(self, pointer: int, source: NDArray[Any], stream: Stream) -> None:
        _call(driver.cuMemcpyHtoDAsync, pointer, source.ctypes.data, source.nbytes, stream.handle)

    def to_host(self, target: NDArray[Any], pointer: int, stream: Stream) -> None:
        _call(driver.cuMemcpyDtoHAsync, target.ctypes.data, pointer, target.nbytes, stream.handle)

    def copy(self, target: int, source: int, size: int, stream: Stream) -> None:
        _call(driver.cuMemcpyDtoDAsync, target, source, size, stream.handle)

    @contextmanager
    def capture(self, stream: Stream) -> Iterator[Capture]:
        # Allow calls of other threads during capture, for example PyTorch's allocations.
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        _call(driver.cuStreamBeginCapture, stream.handle, mode)
        capture = Capture()
        try:
            yield capture
        except BaseException:
            driver.cuStreamEndCapture(stream.handle)
            raise
        graph = _call(driver.cuStreamEndCapture, stream.handle)
        try:
            capture.graph = _Graph(_call(driver.cuGraphInstantiate, graph, 0))
        finally:
            _call(driver.cuGraphDestroy, graph)

    def close(self) -> None:
        if self._context is not None:
            self._context = None
            _call(driver.cuDevicePrimaryCtxRelease, self._device)


class _Memory(Memory):
    def __init__(self, size: int) -> None:
        self.pointer = int(_call(driver.cuMemAlloc, size))

    def close(self) -> None:
        if self.pointer:
            pointer, self.pointer = self.pointer, 0
            _call(driver.cuMemFree, pointer)


class _PinnedMemory(PinnedMemory):
    def __init__(self, size: int) -> None:
        self._pointer: int | None = int(_call(driver.cuMemHostAlloc, size, 0))
        buffer = (ctypes.c_uint8 * size).from_address(self._pointer)
        self.array = np.ctypeslib.as_array(buffer)

    def close(self) -> None:
        if self._pointer is not None:
            pointer, self._pointer = self._pointer, None
            del self.array
            _call(driver.cuMemFreeHost, pointer)


class _Stream(Stream):
    def __init__(self) -> None:
        self.handle = int(
            _call(driver.cuStreamCreate, driver.CUstream_flags.CU_STREAM_NON_BLOCKING)
        )

    def synchronize(self) -> None:
        _call(driver.cuStreamSynchronize, self.handle)

    def close(self) -> None:
        if self.handle:
            handle, self.handle = self.handle, 0
            _call(driver.cuStreamDestroy, handle)


class _Event(Event):
    def __init__(self) -> None:
        flags = driver.CUevent_flags
        self._event = _call(
            driver.cuEventCreate, flags.CU_EVENT_DISABLE_TIMING | flags.CU_EVENT_BLOCKING_SYNC
        )

    def record(self, stream: int) -> None:
        _call(driver.cuEventRecord, self._event, stream)

    def wait(self, stream: int) -> None:
        _call(driver.cuStreamWaitEvent, stream, self._event, 0)

    def synchronize(self) -> None:
        _call(driver.cuEventSynchronize, self._event)

    def close(self) -> None:
        if self._event is not None:
            event, self._event = self._event, None
            _call(driver.cuEventDestroy, event)


class _Graph(Graph):
    def __init__(self, executable: Any) -> None:
        self._executable = executable

    def launch(self, stream: int) -> None:
        _call(driver.cuGraphLaunch, self._executable, stream)

    def close(self) -> None:
        if self._executable is not None:
            executable, self._executable = self._executable, None
            _call(driver.cuGraphExecDestroy, executable)
