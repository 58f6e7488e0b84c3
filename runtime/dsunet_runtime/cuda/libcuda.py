"""CUDA driver functions that PyCUDA does not provide, called through ctypes.

PyCUDA's events support only PyCUDA's own streams, not those of other libraries.
"""

from __future__ import annotations

import ctypes
import functools
import sys

from dsunet_runtime.cuda.errors import failure

# Constants of cuda.h.
_BLOCKING_SYNC_WITHOUT_TIMING = 3
_MEMORY_TYPE, _DEVICE_ORDINAL = 2, 9
_DEVICE_MEMORY = 2


def create_event() -> int:
    """Create an event without timing, for which threads block without spinning."""
    event = ctypes.c_void_p()
    _call("cuEventCreate", ctypes.byref(event), ctypes.c_uint(_BLOCKING_SYNC_WITHOUT_TIMING))
    return event.value or 0


def destroy_event(event: int) -> None:
    _call("cuEventDestroy_v2", ctypes.c_void_p(event))


def record_event(event: int, stream: int) -> None:
    _call("cuEventRecord", ctypes.c_void_p(event), ctypes.c_void_p(stream))


def wait_for_event(stream: int, event: int) -> None:
    """Make later work on a stream wait for an event."""
    _call("cuStreamWaitEvent", ctypes.c_void_p(stream), ctypes.c_void_p(event), ctypes.c_uint(0))


def synchronize_event(event: int) -> None:
    """Block the calling thread until the event."""
    _call("cuEventSynchronize", ctypes.c_void_p(event))


def device_of(pointer: int) -> int | None:
    """Return the index of the GPU that an address belongs to; None for host memory."""
    kind, ordinal = ctypes.c_uint(), ctypes.c_int()
    address = ctypes.c_uint64(pointer)
    attribute = _library().cuPointerGetAttribute
    if attribute(ctypes.byref(kind), _MEMORY_TYPE, address) or kind.value != _DEVICE_MEMORY:
        return None
    if attribute(ctypes.byref(ordinal), _DEVICE_ORDINAL, address):
        return None
    return ordinal.value


def remove_context(context: int) -> None:
    """Remove a context from the top two entries of the calling thread's context stack."""
    top = _pop_context()
    if top != context:
        _pop_context()
        _call("cuCtxPushCurrent_v2", ctypes.c_void_p(top))


def _pop_context() -> int | None:
    context = ctypes.c_void_p()
    _call("cuCtxPopCurrent_v2", ctypes.byref(context))
    return context.value


def _call(name: str, *arguments: object) -> None:
    status = getattr(_library(), name)(*arguments)
    if status:
        raise failure(name, f"error {status}")


@functools.cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
