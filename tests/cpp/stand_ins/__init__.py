"""Control of the stand-ins of CUDA's driver and of TensorRT, by ctypes."""

from __future__ import annotations

import ctypes as c
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

NO_DEVICE, OUT_OF_MEMORY, UNKNOWN = 100, 2, 999


class DeviceArray:
    """Device memory, which tests read and write directly as `array`."""

    def __init__(self, address: int, size: int) -> None:
        self.address = address
        buffer = (c.c_uint8 * size).from_address(address)
        self.array: NDArray[np.uint8] = np.frombuffer(buffer, np.uint8)


class StandIn:
    """A GPU in host memory; see cuda.cpp."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "libstand_in_cuda.so"
        self._calls = c.CDLL(str(self.path))
        for name in ("held", "faults"):
            getattr(self._calls, f"stand_in_{name}").restype = c.c_char_p
        for name in ("allocate", "stream"):
            getattr(self._calls, f"stand_in_{name}").restype = c.c_void_p
        self._calls.stand_in_copy.argtypes = (c.c_void_p, c.c_void_p, c.c_size_t, c.c_void_p)
        self._calls.stand_in_set.argtypes = (c.c_char_p, c.c_int64)
        self._calls.stand_in_allocate.argtypes = (c.c_size_t, c.c_int)

    def reset(self) -> None:
        """Reset to the state of a new process without GPUs."""
        self._calls.stand_in_reset()

    def add_gpu(self, name: str, compute_capability: str) -> None:
        self._calls.stand_in_add_gpu(name.encode(), *map(int, compute_capability.split(".")))

    def fail(self, call: str, status: int = UNKNOWN, *, skipped: int = 0) -> None:
        """Let a function fail, after some calls that succeed; `status` 0 ends that."""
        self._calls.stand_in_fail(call.encode(), status, skipped)

    def set(self, name: str, value: int) -> None:
        self._calls.stand_in_set(name.encode(), value)

    @contextmanager
    def paused(self, call: str, entered: int = 1) -> Iterator[Callable[[], None]]:
        """Block calls of a function until the end; the yielded function waits for some of them."""
        before = self.calls(f"{call} entered")
        deadline = time.monotonic() + 30

        def wait() -> None:
            while self.calls(f"{call} entered") < before + entered:
                assert time.monotonic() < deadline
                time.sleep(0.001)

        self.set(f"pause {call}", 1)
        try:
            yield wait
        finally:
            self.set(f"pause {call}", 0)

    def calls(self, name: str) -> int:
        """Return how often a function was called."""
        return int(self._calls.stand_in_calls(name.encode()))

    @property
    def held(self) -> str:
        """Objects that are not released."""
        return self._calls.stand_in_held().decode()  # type: ignore[no-any-return]

    @property
    def faults(self) -> str:
        """Errors that real libraries would not survive."""
        return self._calls.stand_in_faults().decode()  # type: ignore[no-any-return]

    @property
    def waiting(self) -> int:
        """Number of pieces of work that wait in streams."""
        return int(self._calls.stand_in_waiting())

    def allocate(self, size: int, gpu: int = 0) -> DeviceArray:
        """Allocate device memory, which `reset` frees."""
        return DeviceArray(self._calls.stand_in_allocate(size, gpu), size)

    def stream(self) -> int:
        return int(self._calls.stand_in_stream())

    def copy(self, target: NDArray[np.uint8], source: NDArray[np.uint8], stream: int) -> None:
        """Enqueue a copy of a whole array; keep both alive."""
        assert target.nbytes == source.nbytes
        assert target.flags.c_contiguous
        assert source.flags.c_contiguous
        self._calls.stand_in_copy(target.ctypes.data, source.ctypes.data, source.nbytes, stream)

    def synchronize(self, stream: int) -> None:
        synchronize: Callable[[c.c_void_p], int] = self._calls.stand_in_synchronize
        status = synchronize(c.c_void_p(stream))
        assert status == 0, (status, self.faults)
