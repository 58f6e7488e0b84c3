"""Peak compute and memory bandwidth of the CPU, measured by a matrix multiplication and a copy."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dsunet_runtime.backends.onnxruntime.backend import import_onnxruntime, session_options
from dsunet_runtime.backends.onnxruntime.execution_providers import CPU
from dsunet_runtime.bench.roofline.layer_profile import repeat

_SIDE = 2048
# An ONNX file: y = MatMul(a, b), float32 matrices of any size, opset 13.
_MATMUL = (
    b'\x08\x08:I\n\x11\n\x01a\n\x01b\x12\x01y"\x06MatMul\x12\x01g'
    b"Z\x0f\n\x01a\x12\n\n\x08\x08\x01\x12\x04\n\x00\n\x00"
    b"Z\x0f\n\x01b\x12\n\n\x08\x08\x01\x12\x04\n\x00\n\x00"
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x00\n\x00B\x04\n\x00\x10\r"
)
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_LEAST_COPY, _MOST_COPY = 64 << 20, 1 << 30
"""Limits of the size of the copy in bytes."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Peak compute and memory bandwidth: the lower bound of time for data outside caches."""

    macs_per_second: float
    bytes_per_second: float
    """Bytes read plus bytes written."""
    matmul: str
    """Description of the computation that was measured."""
    copy: str
    """Description of the copy that was measured."""

    def ideal(self, macs: int, moved: int) -> float:
        """Minimum time in seconds, with computation and memory traffic overlapped."""
        return max(macs / self.macs_per_second, moved / self.bytes_per_second)

    def rate(self, macs_per_byte: float) -> float:
        """Maximum multiply-adds per second at an arithmetic intensity in multiply-adds per byte."""
        return min(self.macs_per_second, macs_per_byte * self.bytes_per_second)


def measure_ceiling(threads: int | None) -> Ceiling:
    """Measure the CPU with as many threads as ONNX Runtime uses; the best of several runs."""
    size = min(_MOST_COPY, max(_LEAST_COPY, 4 * _largest_cache()))
    return Ceiling(
        macs_per_second=_SIDE**3 / min(repeat(_matmul(threads))),
        bytes_per_second=2 * size / min(repeat(_copy(size, threads or os.cpu_count() or 1))),
        matmul=f"float32 matrix multiplication of {_SIDE}×{_SIDE} by ONNX Runtime",
        copy=f"copy of {size >> 20} MiB",
    )


def _matmul(threads: int | None) -> Callable[[], object]:
    runtime = import_onnxruntime()
    options = session_options(runtime, threads)
    providers = [CPU]
    session = runtime.InferenceSession(_MATMUL, options, providers=providers)
    ones = np.ones((_SIDE, _SIDE), np.float32)
    return lambda: session.run(None, {"a": ones, "b": ones})


def _copy(size: int, threads: int) -> Callable[[], object]:
    """Return a copy split over the threads; NumPy releases the GIL while copying."""
    # Not np.empty: untouched pages are not allocated yet.
    sources = np.array_split(np.ones(size, np.uint8), threads)
    targets = np.array_split(np.ones(size, np.uint8), threads)

    def copy() -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(np.copyto, targets, sources))

    return copy


def _largest_cache() -> int:
    """Size of the largest CPU cache in bytes; 0 if it is unknown."""
    try:
        sizes = [file.read_text("ascii").strip() for file in _CACHES.glob("index*/size")]
        return max((int(size.removesuffix("K")) << 10 for size in sizes), default=0)
    except (OSError, ValueError):
        return 0
