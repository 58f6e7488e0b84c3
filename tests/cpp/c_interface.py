"""The C interface by ctypes: structs and calls as `dsunet/runtime.h` declares them."""

from __future__ import annotations

import ctypes as c
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

OK, ARGUMENT, ARTIFACT, BACKEND, IMAGE, SELFTEST, MEMORY, INTERNAL = range(8)
RGB, BGR, RGBA, BGRA, NV12 = range(5)
BT601_LIMITED, BT601_FULL, BT709_LIMITED, BT709_FULL = range(4)
AUTO, ALWAYS, NEVER = range(3)


class _Sized(c.Structure):
    """A struct that begins with its size."""

    def __init__(self, **values: Any) -> None:
        super().__init__(struct_size=c.sizeof(self), **values)


class Options(_Sized):
    _fields_ = (
        ("struct_size", c.c_size_t),
        ("provider", c.c_char_p),
        ("threads", c.c_int32),
        ("device", c.c_int32),
        ("selftest", c.c_int32),
        ("allow_cpu_fallback", c.c_int32),
        ("verify_hashes", c.c_int32),
        ("library", c.c_char_p),
        ("provider_library", c.c_char_p),
        ("backends", c.c_char_p),
    )


class Range(c.Structure):
    _fields_ = (("minimum", c.c_int32), ("optimum", c.c_int32), ("maximum", c.c_int32))


class Description(_Sized):
    _fields_ = (
        ("struct_size", c.c_size_t),
        ("is_engine", c.c_int32),
        ("is_probability", c.c_int32),
        ("weights_are_random", c.c_int32),
        ("batch", Range),
        ("height", Range),
        ("width", Range),
        ("provider", c.c_char_p),
        ("precision", c.c_char_p),
        ("machine", c.c_char_p),
        ("manifest", c.c_char_p),
    )


class Frame(_Sized):
    _fields_ = (
        ("struct_size", c.c_size_t),
        ("data", c.c_void_p),
        ("width", c.c_int32),
        ("height", c.c_int32),
        ("stride", c.c_ssize_t),
        ("chroma", c.c_void_p),
        ("chroma_stride", c.c_ssize_t),
        ("format", c.c_int32),
        ("encoding", c.c_int32),
        ("x", c.c_int32),
        ("y", c.c_int32),
        ("region_width", c.c_int32),
        ("region_height", c.c_int32),
    )


class Mask(_Sized):
    _fields_ = (
        ("struct_size", c.c_size_t),
        ("data", c.c_void_p),
        ("stride", c.c_ssize_t),
        ("threshold", c.c_int32),
        ("reserved", c.c_int32),
    )


class SelfTestResult(_Sized):
    _fields_ = (
        ("struct_size", c.c_size_t),
        *((name, c.c_int32) for name in ("comparisons", "failed", "batch", "place")),
        *((name, c.c_int32) for name in ("picture", "width", "height")),
        *((name, c.c_double) for name in ("blocks", "blocks_tolerance")),
        *((name, c.c_double) for name in ("points", "points_tolerance")),
    )


class CallError(Exception):
    """A call that failed: its status, and the message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def find_onnxruntime() -> Path:
    """The shared library inside the installed Python package."""
    import onnxruntime

    (path,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.1*")
    return path


class Library:
    """The built library, with backends of its own folder or of another one."""

    def __init__(self, path: Path, backends: Path | None = None) -> None:
        self.path = path
        self.backends = backends
        self.calls = c.CDLL(str(path))
        self.calls.dsunet_last_error.restype = c.c_char_p
        self.calls.dsunet_version.restype = c.c_char_p
        segmenter, size = c.c_void_p, c.c_size_t
        self.calls.dsunet_describe.argtypes = (segmenter, c.c_void_p)
        self.calls.dsunet_segment.argtypes = (segmenter, c.c_void_p, c.c_void_p, size)
        self.calls.dsunet_segment_device.argtypes = (
            segmenter, c.c_void_p, c.c_void_p, size, c.c_void_p,
        )  # fmt: skip
        self.calls.dsunet_selftest.argtypes = (segmenter, c.c_void_p)

    def require(self, status: int) -> None:
        """Raise CallError unless a call succeeded."""
        if status != OK:
            raise CallError(status, self.calls.dsunet_last_error().decode())

    def open(self, path: Path | str | bytes, **options: Any) -> Segmenter:
        """Open an artifact; `options` are the fields of `Options`."""
        segmenter = c.c_void_p()
        name = path if isinstance(path, bytes) else str(path).encode()
        values = {"backends": self.backends, **options}
        given = Options(**{k: _text(v) for k, v in values.items()})
        self.require(self.calls.dsunet_open(name, c.byref(given), c.byref(segmenter)))
        return Segmenter(self, segmenter)


def _text(value: Any) -> Any:
    return str(value).encode() if isinstance(value, str | Path) else value


class Segmenter:
    """An open artifact."""

    def __init__(self, library: Library, handle: c.c_void_p) -> None:
        self.library = library
        self.handle = handle

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.library.calls.dsunet_close(c.byref(self.handle))

    def describe(self) -> Description:
        description = Description()
        self.library.require(self.library.calls.dsunet_describe(self.handle, c.byref(description)))
        return description

    def selftest(self) -> SelfTestResult:
        result = SelfTestResult()
        self.library.require(self.library.calls.dsunet_selftest(self.handle, c.byref(result)))
        return result

    def segment(self, frames: Sequence[Frame], masks: Sequence[Mask]) -> None:
        self.library.require(
            self.library.calls.dsunet_segment(
                self.handle,
                (Frame * len(frames))(*frames),
                (Mask * len(masks))(*masks),
                len(frames),
            )
        )

    def __call__(self, *images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        """The masks of RGB images H×W×3, in one call."""
        results = [np.empty(image.shape[:2], np.uint8) for image in images]
        self.segment([packed(image) for image in images], [mask_of(one) for one in results])
        return results


def packed(
    image: NDArray[np.uint8],
    format: int = RGB,  # noqa: A002 - as the field
    **fields: Any,
) -> Frame:
    """A frame over an array H×W×C, whose rows may be apart; keep the array alive."""
    height, width, _ = image.shape
    return Frame(
        data=image.ctypes.data, width=width, height=height, stride=image.strides[0],
        format=format, **fields,
    )  # fmt: skip


def mask_of(levels: NDArray[np.uint8], threshold: int = 0) -> Mask:
    """A mask over an array H×W, whose rows may be apart; keep the array alive."""
    return Mask(data=levels.ctypes.data, stride=levels.strides[0], threshold=threshold)
