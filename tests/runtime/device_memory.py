"""Callers whose tensors are on the fake GPU, and the ways in which libraries show theirs."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsunet_runtime import DeviceTensor
from dsunet_runtime.cuda import Event, Memory, Stream
from tests.runtime.conftest import Machine


class Caller:
    """A program with a stream of its own, whose frames are on the GPU."""

    def __init__(self, machine: Machine) -> None:
        self.device = machine.device
        with self.device.current():
            self.stream: Stream = self.device.stream()
            self.done: Event = self.device.event()
        self._memory: list[Memory] = []

    def tensor(self, *shape: int, dtype: str = "uint8") -> DeviceTensor:
        with self.device.current():
            memory = self.device.allocate(int(np.prod(shape)) * np.dtype(dtype).itemsize)
        self._memory.append(memory)
        return DeviceTensor(memory.pointer, shape, dtype)

    def write(self, tensor: DeviceTensor, content: NDArray[Any], stream: int) -> None:
        """When the stream comes to it."""
        with self.device.current():
            self.device.enqueue(stream, lambda: np.copyto(self.read(tensor), content))

    def read(self, tensor: DeviceTensor) -> NDArray[Any]:
        """What is there now."""
        dtype = np.dtype(tensor.dtype)
        content = self.device.at(tensor.pointer, int(np.prod(tensor.shape)) * dtype.itemsize)
        return content.view(dtype).reshape(tensor.shape)

    def wait(self, stream: int) -> None:
        with self.device.current():
            self.done.record(stream)
            self.done.synchronize()

    def close(self) -> None:
        with self.device.current():
            for handle in (self.stream, self.done, *self._memory):
                handle.close()


class Interface:
    """As PyTorch, CuPy and Numba describe device memory."""

    def __init__(self, tensor: DeviceTensor, read_only: bool = False, **changes: Any) -> None:
        self.__cuda_array_interface__ = {
            "data": (tensor.pointer, read_only),
            "shape": tensor.shape,
            "typestr": np.dtype(tensor.dtype).str,
            "version": 3,
            **changes,
        }


class Managed(ctypes.Structure):
    """DLManagedTensor, written down once more from DLPack's header."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
        ("manager_ctx", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    )


class Packed:
    """A tensor that speaks DLPack."""

    def __init__(
        self,
        tensor: DeviceTensor,
        strides: tuple[int, ...] | None = None,
        kind: int = 2,
        dtype: tuple[int, int] = (1, 8),
        offset: int = 0,
    ) -> None:
        count = len(tensor.shape)
        self._shape = (ctypes.c_int64 * count)(*tensor.shape)
        self._strides = None if strides is None else (ctypes.c_int64 * count)(*strides)
        pointers = ctypes.POINTER(ctypes.c_int64)
        self._managed = Managed(
            tensor.pointer - offset,
            kind,
            0,
            count,
            *dtype,
            1,
            ctypes.cast(self._shape, pointers),
            ctypes.cast(self._strides, pointers) if self._strides else None,
            offset,
        )
        self._kind = kind

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._kind, 0

    def __dlpack__(self, stream: int | None = None) -> Any:
        assert stream == -1, "asked to synchronise"
        new = ctypes.pythonapi.PyCapsule_New
        new.restype = ctypes.py_object
        new.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
        return new(ctypes.addressof(self._managed), b"dltensor", None)


def strides_of(tensor: DeviceTensor) -> tuple[int, ...]:
    """Of bytes, in elements and in bytes; nonsense where a dimension has one element."""
    array = np.empty(tensor.shape, np.uint8)
    return tuple(s if n > 1 else 12345 for s, n in zip(array.strides, array.shape, strict=True))
