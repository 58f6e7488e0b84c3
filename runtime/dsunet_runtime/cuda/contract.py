"""The CUDA interface of the runtime, implemented by each Python binding.

Devices use the primary context, as PyTorch, CuPy and TensorRT do.  The context is current only
inside `Device.current()`, which restores the context of the calling thread afterwards.  Objects
that a device creates must be closed before the device.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsunet_runtime.closeable import Closeable
from dsunet_runtime.cuda.errors import failure

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Gpu:
    """Properties of a GPU, which need no context."""

    index: int
    """CUDA's device index in this process; it depends on `CUDA_VISIBLE_DEVICES`."""
    name: str
    """For example `NVIDIA GeForce RTX 4090`."""
    compute_capability: str
    """For example `8.9`."""
    memory: int
    """Total memory in bytes."""
    pci_bus_id: str
    """For example `0000:01:00.0`: the same for every process and library."""


class Memory(Closeable):
    """Device memory."""

    pointer: int


class PinnedMemory(Closeable):
    """Pinned host memory, for asynchronous copies."""

    array: NDArray[np.uint8]
    """The memory as an array of bytes; invalid after closing."""


class Stream(Closeable):
    """A stream that does not synchronise with the default stream.

    Methods that take the handle of a stream also accept streams of other libraries.
    """

    handle: int

    @abstractmethod
    def synchronize(self) -> None:
        """Block until the work on the stream is done."""


class Event(Closeable):
    """An event on a stream, without timing."""

    @abstractmethod
    def record(self, stream: int) -> None:
        """Record the event on a stream, after the work enqueued so far."""

    @abstractmethod
    def wait(self, stream: int) -> None:
        """Make later work on a stream wait for the event, without blocking the host."""

    @abstractmethod
    def synchronize(self) -> None:
        """Block the calling thread until the event, without spinning."""


class Graph(Closeable):
    """An executable CUDA graph."""

    @abstractmethod
    def launch(self, stream: int) -> None:
        """Launch the graph on a stream."""


class Capture:
    """A graph capture in progress."""

    graph: Graph
    """The captured graph, available after the `capture` context exits."""


class Device(Closeable):
    """A GPU with its primary context.

    All methods, and those of the returned objects, must be called inside `current()`, from any
    number of threads.  They raise BackendError if CUDA reports an error.
    """

    gpu: Gpu
    captures: bool
    """Whether the binding supports `capture`."""

    @abstractmethod
    def current(self) -> AbstractContextManager[None]:
        """Make the context current in the calling thread, then restore the previous one."""

    @abstractmethod
    def holds(self, pointer: int) -> bool:
        """Whether an address is in the memory of this device, not of the host or another GPU."""

    @abstractmethod
    def allocate(self, size: int) -> Memory:
        """Allocate `size` bytes of device memory, at least 1."""

    @abstractmethod
    def pin(self, size: int) -> PinnedMemory:
        """Allocate `size` bytes of pinned host memory, at least 1."""

    @abstractmethod
    def stream(self) -> Stream:
        """Create a stream."""

    @abstractmethod
    def event(self) -> Event:
        """Create an event that is not recorded yet."""

    @abstractmethod
    def to_device(self, pointer: int, source: NDArray[Any], stream: Stream) -> None:
        """Enqueue a copy from pinned host memory to the device."""

    @abstractmethod
    def to_host(self, target: NDArray[Any], pointer: int, stream: Stream) -> None:
        """Enqueue a copy from the device to pinned host memory."""

    @abstractmethod
    def copy(self, target: int, source: int, size: int, stream: Stream) -> None:
        """Enqueue a copy of `size` bytes between two addresses of device memory."""

    def capture(self, stream: Stream) -> AbstractContextManager[Capture]:
        """Capture the work that the calling thread enqueues on the stream, as a graph.

        Raises BackendError also if `captures` is false.
        """
        raise failure("capture", "this binding does not support graph capture; cuda-python does")


def version_text(number: int) -> str:
    """Format CUDA's version number: `13.0` for 13000."""
    return f"{number // 1000}.{number % 1000 // 10}"


class Cuda(ABC):
    """The CUDA driver, through one Python binding.

    Creating it raises BackendError if there is no driver.  It does not create a context.
    """

    @abstractmethod
    def version(self) -> str:
        """The newest CUDA version that the driver supports, for example `13.0`."""

    @abstractmethod
    def gpus(self) -> tuple[Gpu, ...]:
        """The GPUs visible to this process, in CUDA's order."""

    @abstractmethod
    def open(self, gpu: Gpu) -> Device:
        """Retain the primary context of a GPU.  Raises BackendError if that fails."""
