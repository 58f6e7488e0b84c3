"""A tensor on the GPU, said in plain numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeviceTensor:
    """Device memory that holds a tensor without gaps, in C's order.

    For `Segmenter.run_device`, where there is an address but no object that knows what lies there.
    """

    pointer: int
    """The address, which must be a multiple of 256."""
    shape: tuple[int, ...]
    dtype: str
    """For example `uint8` or `float32`."""
