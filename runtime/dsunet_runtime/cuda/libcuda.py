"""The few functions of the CUDA driver that PyCUDA does not offer, called directly.

PyCUDA's events know PyCUDA's own streams only, and no stream that belongs to somebody else.
"""

from __future__ import annotations

import ctypes
import functools
import sys

from dsunet_runtime.cuda.errors import failure

# Numbers of cuda.h.
_BLOCKING_SYNC_WITHOUT_TIMING = 3
_MEMORY_TYPE, _DEVICE_ORDINAL = 2, 9
_DEVICE_MEMORY = 2


def create_event() -> int:
    """A new event, for which threads wait without spinning."""
    event = ctypes.c_void_p()
    _call("cuEventCreate", ctypes.byref(event), ctypes.c_uint(_BLOCKING_SYNC_WITHOUT_TIMING))
    return event.value or 0


def destroy_event(event: int) -> None:
    _call("cuEventDestroy_v2", ctypes.c_void_p(event))


def record_event(event: int, stream: int) -> None:
    _call("cuEventRecord", ctypes.c_void_p(event), ctypes.c_void_p(stream))


def wait_for_event(stream: int, event: int) -> None:
    """Let a stream wait."""
    _call("cuStreamWaitEvent", ctypes.c_void_p(stream), ctypes.c_void_p(event), ctypes.c_uint(0))


def synchronize_event(event: int) -> None:
    """Let the calling thread wait."""
    _call("cuEventSynchronize", ctypes.c_void_p(event))


def device_of(pointer: int) -> int | None:
    """The index of the GPU whose memory an address is; None if it is no GPU's."""
    kind, ordinal = ctypes.c_uint(), ctypes.c_int()
    address = ctypes.c_uint64(pointer)
    attribute = _library().cuPointerGetAttribute
    if attribute(ctypes.byref(kind), _MEMORY_TYPE, address) or kind.value != _DEVICE_MEMORY:
        return None
    if attribute(ctypes.byref(ordinal), _DEVICE_ORDINAL, address):
        return None
    return ordinal.value


def remove_context(context: int) -> None:
    """Take a context off the calling thread's stack if it is the first or second on it."""
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
