"""Errors of CUDA calls, for both bindings."""

from __future__ import annotations

from dsunet_runtime.errors import BackendError
from dsunet_runtime.message_text import printable

FREE_MEMORY = (
    "stop other processes on the GPU, or build the engine with a smaller `--batch` or `--size`"
)
"""The remedy for too little GPU memory."""


def no_driver(reason: object) -> BackendError:
    """Return the error for a machine on which CUDA does not start."""
    detail = printable(reason)
    return BackendError(f"no working NVIDIA driver: install one that supports the GPU ({detail})")


def failure(call: str, reason: str, *, out_of_memory: bool = False) -> BackendError:
    """Return the error for a failed CUDA call."""
    if out_of_memory:
        return BackendError(f"not enough free GPU memory: {FREE_MEMORY}")
    return BackendError(f"CUDA failed: {call}: {reason}")
