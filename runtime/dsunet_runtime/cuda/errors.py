"""What CUDA's failures are called, for both bindings."""

from __future__ import annotations

from dsunet_runtime.errors import BackendError
from dsunet_runtime.message_text import printable

FREE_MEMORY = (
    "end what else runs on the GPU, or build the engine with a smaller `--batch` or `--size`"
)
"""What to do where the GPU has too little memory."""


def no_driver(reason: object) -> BackendError:
    """The error for a machine on which CUDA does not start."""
    detail = printable(reason)
    return BackendError(f"no NVIDIA driver works here: install one that fits the GPU ({detail})")


def failure(call: str, reason: str, *, out_of_memory: bool = False) -> BackendError:
    """The error for a call that CUDA refused."""
    if out_of_memory:
        return BackendError(f"the GPU has not enough free memory: {FREE_MEMORY}")
    return BackendError(f"CUDA failed: {call}: {reason}")
