"""Reading the description of a tensor of another library through DLPack.

Only the header of the capsule is read.  The capsule is not consumed, so the library itself frees
what it allocated for it.  The memory belongs to the caller's tensor.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

CUDA = 2
"""DLPack's device type of GPU memory; managed memory has another one."""

_CAPSULE = b"dltensor"
_NO_SYNCHRONISATION = -1
_KINDS = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 6: "bool"}


class _Device(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_int32), ("index", ctypes.c_int32))


class _DataType(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("dimensions", ctypes.c_int32),
        ("dtype", _DataType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


@dataclass(frozen=True, slots=True)
class TensorDescription:
    """The description of a tensor in a capsule."""

    pointer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    """In elements; None for contiguous in row-major order."""
    dtype: str
    """NumPy's name of the type, if NumPy has the type."""


def device_kind(tensor: Any) -> int:
    """Return DLPack's device type of a tensor."""
    kind, _ = tensor.__dlpack_device__()
    return int(kind)


def read(tensor: Any) -> TensorDescription:
    """Read the description of a tensor, without synchronisation: the caller orders the work.

    Raises what the tensor raises, and ValueError if it returns a capsule of another kind.
    """
    capsule = tensor.__dlpack__(stream=_NO_SYNCHRONISATION)
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype = ctypes.c_void_p
    get_pointer.argtypes = (ctypes.py_object, ctypes.c_char_p)
    header = _Tensor.from_address(get_pointer(capsule, _CAPSULE))
    count = header.dimensions
    strides = tuple(header.strides[:count]) if header.strides else None
    return TensorDescription(
        (header.data or 0) + header.byte_offset,
        tuple(header.shape[:count]),
        strides,
        _name(header.dtype),
    )


def _name(dtype: _DataType) -> str:
    kind = _KINDS.get(dtype.code, "unknown")
    lanes = "" if dtype.lanes == 1 else f"x{dtype.lanes}"
    return f"bool{lanes}" if kind == "bool" else f"{kind}{dtype.bits}{lanes}"
