"""What the runtime asks of CUDA: one contract, whichever Python binding carries it out.

A device's primary context is the one that PyTorch, CuPy and TensorRT use.  It is retained, never
created anew, and is current only inside `Device.current()`, which leaves the calling thread's own
context as it was.  Everything that a device makes must be closed before the device.
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
    """What is known of a GPU without a context on it."""

    index: int
    """As CUDA counts in this process; `CUDA_VISIBLE_DEVICES` changes it."""
    name: str
    """For example `NVIDIA GeForce RTX 4090`."""
    compute_capability: str
    """For example `8.9`."""
    memory: int
    """Bytes in all."""
    pci_bus_id: str
    """For example `0000:01:00.0`: the same for every process and library."""


class Memory(Closeable):
    """Device memory."""

    pointer: int


class PinnedMemory(Closeable):
    """Host memory that the GPU copies from and to while the host goes on."""

    array: NDArray[np.uint8]
    """The bytes; gone once this is closed."""


class Stream(Closeable):
    """A queue of work on the device that does not wait for the default stream.

    Where the contract takes a stream's handle, it may be anybody's: PyTorch's, or the caller's.
    """

    handle: int

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until the work is done."""


class Event(Closeable):
    """A point in a stream's work."""

    @abstractmethod
    def record(self, stream: int) -> None:
        """From now on this event stands for the work that the stream has so far."""

    @abstractmethod
    def wait(self, stream: int) -> None:
        """What comes into the stream from now on waits for this event; the host does not."""

    @abstractmethod
    def synchronize(self) -> None:
        """Let the calling thread wait for this event, without spinning."""


class Graph(Closeable):
    """Recorded work, launched as a whole."""

    @abstractmethod
    def launch(self, stream: int) -> None:
        """Put the work into a stream."""


class Capture:
    """A recording that goes on."""

    graph: Graph
    """The recorded work, once the context that gave this object is left."""


class Device(Closeable):
    """A GPU whose primary context is retained.

    Every method, and every method of what they return, must be called inside `current()`; any
    number of threads may be inside at once.  All raise BackendError if CUDA reports an error.
    """

    gpu: Gpu
    captures: bool
    """Whether `capture` works with this binding."""

    @abstractmethod
    def current(self) -> AbstractContextManager[None]:
        """Make the context current in the calling thread, and the thread's own one afterwards."""

    @abstractmethod
    def holds(self, pointer: int) -> bool:
        """Whether an address is memory of this device, rather than the host's or another GPU's."""

    @abstractmethod
    def allocate(self, size: int) -> Memory:
        """`size` bytes of device memory, at least 1."""

    @abstractmethod
    def pin(self, size: int) -> PinnedMemory:
        """`size` bytes of pinned host memory, at least 1."""

    @abstractmethod
    def stream(self) -> Stream:
        """A new stream."""

    @abstractmethod
    def event(self) -> Event:
        """A new event, which stands for no work yet."""

    @abstractmethod
    def to_device(self, pointer: int, source: NDArray[Any], stream: Stream) -> None:
        """Copy pinned host memory to the device when the stream comes to it."""

    @abstractmethod
    def to_host(self, target: NDArray[Any], pointer: int, stream: Stream) -> None:
        """Copy device memory to pinned host memory when the stream comes to it."""

    @abstractmethod
    def copy(self, target: int, source: int, size: int, stream: Stream) -> None:
        """Copy `size` bytes from one address of device memory to another, likewise."""

    def capture(self, stream: Stream) -> AbstractContextManager[Capture]:
        """Record what the calling thread puts into the stream, instead of carrying it out.

        Raises BackendError where `captures` is false, too.
        """
        raise failure("capture", "this binding does not record graphs; cuda-python does")


def version_text(number: int) -> str:
    """CUDA's number of a version as people write it: `13.0` of 13000."""
    return f"{number // 1000}.{number % 1000 // 10}"


class Cuda(ABC):
    """The CUDA driver, through one Python binding.  Creating it raises BackendError if there is no
    driver; it makes no context.
    """

    @abstractmethod
    def version(self) -> str:
        """The newest CUDA version that the driver knows, for example `13.0`."""

    @abstractmethod
    def gpus(self) -> tuple[Gpu, ...]:
        """The GPUs that this process may use, in CUDA's order."""

    @abstractmethod
    def open(self, gpu: Gpu) -> Device:
        """Retain a GPU's primary context.  Raises BackendError if that does not succeed."""
