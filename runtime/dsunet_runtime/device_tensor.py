"""A tensor in GPU memory, described by address, shape and type."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeviceTensor:
    """A contiguous tensor in GPU memory, in row-major order.

    Use it with `Segmenter.run_device` where only an address is known, and not an object with
    `__cuda_array_interface__` or DLPack.  It does not own the memory.

        frames = DeviceTensor(pointer, (1, 720, 1280, 3), "uint8")

    Args:
        pointer: Device address in bytes, a multiple of 256.
        shape: Number of elements along each dimension, the batch first.
        dtype: NumPy's name of the element type: `uint8` or `float32`.
    """

    pointer: int
    shape: tuple[int, ...]
    dtype: str
