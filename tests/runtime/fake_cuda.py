"""A GPU in host memory that puts off everything until somebody waits for it.

Nothing that is put into a stream is carried out before a thread synchronises: then only what that
thread waits for, or, `interleaved`, one piece of work of every stream in turn.  So a wait that is
missing between streams, or between the device and the host, shows in the results; and so does
memory that is written or freed too early.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsunet_runtime.cuda import (
    Capture,
    Cuda,
    Device,
    Event,
    Gpu,
    Graph,
    Memory,
    PinnedMemory,
    Stream,
)
from dsunet_runtime.cuda.errors import failure

GPU = Gpu(0, "NVIDIA GeForce RTX 4090", "8.9", 24 << 30, "0000:01:00.0")
DEFAULT_STREAMS = (0, 1, 2)
POISON = 0xDD
ALIGNMENT = 256

Work = Callable[[], None]


class Mark:
    """How far a stream has come."""

    def __init__(self, stream: int) -> None:
        self.stream = stream
        self.done = False

    def __call__(self) -> None:
        self.done = True


class Hold:
    """What keeps a stream from going on until another has come as far as a mark."""

    def __init__(self, mark: Mark) -> None:
        self.mark = mark

    def __call__(self) -> None:
        assert self.mark.done


class FakeCuda(Cuda):
    def __init__(self, gpus: tuple[Gpu, ...] = (GPU,), *, interleaved: bool = False) -> None:
        self._gpus = gpus
        self.devices: list[FakeDevice] = []
        self.captures = True
        self._interleaved = interleaved

    def version(self) -> str:
        return "13.0"

    def gpus(self) -> tuple[Gpu, ...]:
        return self._gpus

    def open(self, gpu: Gpu) -> FakeDevice:
        for device in self.devices:
            if device.gpu == gpu and not device.closed:  # there is one primary context
                device.retained += 1
                return device
        self.devices.append(FakeDevice(gpu, self.captures, self._interleaved))
        return self.devices[-1]


class FakeDevice(Device):
    def __init__(self, gpu: Gpu, captures: bool, interleaved: bool) -> None:
        self.gpu = gpu
        self.captures = captures
        self._interleaved = interleaved
        self.retained = 1
        self.closed = False
        self.lost = False
        """Whether every call fails from now on, as after an illegal access."""
        self.live: set[object] = set()
        """Handles that are not closed."""
        self.lent: list[str] = []
        """What of TensorRT's is in memory of the device."""
        self.freed: list[str] = []
        """What of it has been freed, in order."""
        self.faults: list[str] = []
        """What was freed at a wrong time."""
        self.allocations = 0
        self.allocated: dict[int, NDArray[np.uint8]] = {}
        self.work: dict[int, deque[Work]] = {handle: deque() for handle in DEFAULT_STREAMS}
        self.recordings: dict[int, list[Work]] = {}
        self.waits = 0
        """How often a thread has waited."""
        self.lock = threading.RLock()
        self._thread = threading.local()
        self._next_handle = 1000

    @contextmanager
    def current(self) -> Iterator[None]:
        self._thread.depth = self._depth + 1
        try:
            yield
        finally:
            self._thread.depth -= 1

    @property
    def _depth(self) -> int:
        return getattr(self._thread, "depth", 0)

    @property
    def is_current(self) -> bool:
        return self._depth > 0

    def need_context(self) -> None:
        if self.lost:
            raise failure("call", "CUDA_ERROR_ILLEGAL_ADDRESS")
        if not self.is_current:
            raise failure("call", "no context is current in this thread")

    @property
    def free_memory(self) -> int:
        return self.gpu.memory - sum(array.nbytes for array in list(self.allocated.values()))

    def holds(self, pointer: int) -> bool:
        self.need_context()
        return any(p <= pointer < p + a.nbytes for p, a in list(self.allocated.items()))

    def at(self, pointer: int, size: int) -> NDArray[np.uint8]:
        """The bytes of device memory at an address."""
        for start, array in list(self.allocated.items()):
            if start <= pointer and pointer + size <= start + array.nbytes:
                return array[pointer - start : pointer - start + size]
        raise failure("kernel", "illegal memory access")

    def handle(self) -> int:
        self._next_handle += 1
        return self._next_handle

    def allocate(self, size: int) -> Memory:
        self.need_context()
        return _Memory(self, size)

    def pin(self, size: int) -> PinnedMemory:
        self.need_context()
        return _PinnedMemory(self, size)

    def stream(self) -> Stream:
        self.need_context()
        return _Stream(self)

    def event(self) -> Event:
        self.need_context()
        return FakeEvent(self)

    def to_device(self, pointer: int, source: NDArray[Any], stream: Stream) -> None:
        content = source.reshape(-1).view(np.uint8)
        self.enqueue(stream.handle, lambda: np.copyto(self.at(pointer, content.nbytes), content))

    def to_host(self, target: NDArray[Any], pointer: int, stream: Stream) -> None:
        content = target.reshape(-1).view(np.uint8)
        self.enqueue(stream.handle, lambda: np.copyto(content, self.at(pointer, content.nbytes)))

    def copy(self, target: int, source: int, size: int, stream: Stream) -> None:
        self.enqueue(stream.handle, lambda: np.copyto(self.at(target, size), self.at(source, size)))

    def enqueue(self, stream: int, work: Work) -> None:
        """Put anything into a stream."""
        self.need_context()
        with self.lock:
            if stream in self.recordings:
                self.recordings[stream].append(work)
            else:
                self.work[stream].append(work)

    @contextmanager
    def capture(self, stream: Stream) -> Iterator[Capture]:
        self.need_context()
        capture = Capture()
        self.recordings[stream.handle] = work = []
        try:
            yield capture
        finally:
            del self.recordings[stream.handle]
        capture.graph = _Graph(self, work)

    def mark(self, stream: int) -> Mark:
        if stream in self.recordings:
            raise failure("record", "the stream is being captured")
        mark = Mark(stream)
        self.enqueue(stream, mark)
        return mark

    def carry_out(self, mark: Mark) -> None:
        """Do what must be done, or more, until a stream has come to a mark."""
        with self.lock:
            while not mark.done:
                if self._interleaved:
                    progress = [self._step(stream) for stream in list(self.work)]
                    assert any(progress), "deadlock"
                elif not self._step(mark.stream):
                    self.carry_out(self.work[mark.stream][0].mark)  # type: ignore[union-attr]

    def drain(self, stream: int) -> None:
        """Do all that a stream holds."""
        self.waits += 1
        self.carry_out(self.mark(stream))

    def _step(self, stream: int) -> bool:
        """Do the next piece of work, if there is any and it need not wait."""
        queue = self.work[stream]
        if not queue or (isinstance(queue[0], Hold) and not queue[0].mark.done):
            return False
        queue.popleft()()
        return True

    def close(self) -> None:
        self.retained -= 1
        if not self.closed and not self.retained:
            assert self.lost or not self.live, f"closed before {self.live}"
            assert not self.lent, f"closed before {self.lent}"
            assert not self.faults, self.faults
            self.closed = True


class _Handle:
    """Counted until it is closed."""

    def __init__(self, device: FakeDevice) -> None:
        self._device = device
        device.live.add(self)

    def _leaves(self) -> bool:
        """Whether this is the first time that it is closed."""
        if self not in self._device.live:
            return False
        self._device.need_context()
        self._device.live.remove(self)
        return True


class _Memory(_Handle, Memory):
    def __init__(self, device: FakeDevice, size: int) -> None:
        if size > device.free_memory:
            raise failure("allocation", "", out_of_memory=True)
        super().__init__(device)
        whole = np.full(size + ALIGNMENT, POISON, np.uint8)
        offset = -whole.ctypes.data % ALIGNMENT
        self.pointer = whole.ctypes.data + offset
        device.allocated[self.pointer] = whole[offset : offset + size]
        device.allocations += 1

    def close(self) -> None:
        if self._leaves():
            self._device.allocated.pop(self.pointer)[:] = POISON


class _PinnedMemory(_Handle, PinnedMemory):
    def __init__(self, device: FakeDevice, size: int) -> None:
        super().__init__(device)
        self.array = np.full(size, POISON, np.uint8)
        device.allocations += 1

    def close(self) -> None:
        if self._leaves():
            self.array[:] = POISON


class _Stream(_Handle, Stream):
    def __init__(self, device: FakeDevice) -> None:
        super().__init__(device)
        self.handle = device.handle()
        device.work[self.handle] = deque()

    def synchronize(self) -> None:
        self._device.drain(self.handle)

    def close(self) -> None:
        if self._leaves():
            self._device.drain(self.handle)
            del self._device.work[self.handle]


class FakeEvent(_Handle, Event):
    def __init__(self, device: FakeDevice) -> None:
        super().__init__(device)
        self._mark: Mark | None = None

    def record(self, stream: int) -> None:
        self._mark = self._device.mark(stream)

    def wait(self, stream: int) -> None:
        mark = self._mark
        if mark is not None:
            self._device.enqueue(stream, Hold(mark))

    def synchronize(self) -> None:
        self._device.need_context()
        self._device.waits += 1
        if self._mark is not None:
            self._device.carry_out(self._mark)

    def close(self) -> None:
        self._leaves()


class _Graph(_Handle, Graph):
    def __init__(self, device: FakeDevice, work: list[Work]) -> None:
        super().__init__(device)
        self._work = work

    def launch(self, stream: int) -> None:
        assert self in self._device.live, "launched after it was closed"
        for work in self._work:
            self._device.enqueue(stream, lambda work=work: self._do(work))

    def _do(self, work: Work) -> None:
        assert self in self._device.live, "closed before it had run"
        work()

    def close(self) -> None:
        self._leaves()
