"""Tensors that are on the GPU already: what callers give, read without copying, and checked."""

from __future__ import annotations

import contextlib
import ctypes
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np

from dsunet_runtime.backends.tensorrt import dlpack, execution
from dsunet_runtime.cuda import Device
from dsunet_runtime.device_tensor import DeviceTensor
from dsunet_runtime.errors import BackendError, ImageError
from dsunet_runtime.manifest import Manifest, TensorSpec
from dsunet_runtime.message_text import quote, reason, shorten
from dsunet_runtime.shapes import Shape, input_ranges, output_shapes, outside

_ALIGNMENT = 256
"""Bytes, of the addresses that TensorRT takes."""
_STREAM_ATTRIBUTES = ("cuda_stream", "ptr", "handle")
"""PyTorch's name of a stream's handle, CuPy's, and that of PyCUDA and Numba."""


def take(
    manifest: Manifest, device: Device, inputs: Mapping[str, Any], outputs: Mapping[str, Any]
) -> execution.Bindings:
    """Where an engine will read and write.

    Raises ImageError unless there is a tensor for every input and output, of its type, without
    gaps, of a shape that the engine takes or will give, and in memory of the device.
    """
    _check_names("inputs", manifest.inputs, inputs)
    _check_names("outputs", manifest.outputs, outputs)
    ranges = input_ranges(manifest)
    taken: dict[str, DeviceTensor] = {}
    for spec in manifest.inputs:
        tensor = taken[spec.name] = _checked(spec, inputs[spec.name], device)
        if outside(tensor.shape, ranges[spec.name]):
            raise ImageError(
                f"{spec.name} has shape {_by(tensor.shape)} and this engine takes "
                f"{_by(ranges[spec.name])}: build it with another `--batch` or `--size`"
            )
    shapes: dict[str, Shape] = {name: tensor.shape for name, tensor in taken.items()}
    _check_batch(shapes)
    expected = output_shapes(manifest, shapes)
    for spec in manifest.outputs:
        tensor = taken[spec.name] = _checked(spec, outputs[spec.name], device, written=True)
        if tensor.shape != expected[spec.name]:
            raise ImageError(
                f"{spec.name} has shape {_by(tensor.shape)}: for these inputs give one of "
                f"{_by(expected[spec.name])}"
            )
    return execution.Bindings(shapes, {name: tensor.pointer for name, tensor in taken.items()})


def stream_handle(stream: Any) -> int:
    """The handle of a CUDA stream: a number, or any library's stream.

    Raises BackendError if it is neither.
    """
    try:
        return _as_number(_handle_of(stream))
    except Exception as error:  # whatever the library that made the stream raises
        raise BackendError(
            f"stream is {quote(repr(stream))}: give a stream of PyTorch, CuPy, Numba, PyCUDA or "
            f"cuda-python, or its handle as a number (0 is the default stream)"
        ) from error


def _handle_of(stream: Any) -> Any:
    """What a stream calls its handle, if it is an object that has one."""
    protocol = getattr(stream, "__cuda_stream__", None)
    if protocol is not None:
        _, handle = protocol() if callable(protocol) else protocol
        return handle
    for attribute in _STREAM_ATTRIBUTES:
        handle = getattr(stream, attribute, None)
        if handle is not None:
            return handle
    return stream


def _as_number(handle: Any) -> int:
    if isinstance(handle, ctypes.c_void_p):  # Numba's
        return handle.value or 0
    with contextlib.suppress(TypeError):
        return operator.index(handle)
    return int(handle.__int__())  # cuda-python's; strings have none


def _check_names(kind: str, specs: tuple[TensorSpec, ...], given: Mapping[str, Any]) -> None:
    names = {spec.name for spec in specs}
    if given.keys() != names:
        raise ImageError(
            f"{kind} are {shorten(sorted(given), 4) or 'none'} and this engine has "
            f"{', '.join(sorted(names))}: give a tensor for each of those names"
        )


def _check_batch(shapes: Mapping[str, Shape]) -> None:
    if len({shape[0] for shape in shapes.values()}) > 1:
        sizes = ", ".join(f"{name} {shape[0]}" for name, shape in shapes.items())
        raise ImageError(f"the inputs have batches of different sizes ({sizes}): give one size")


def _checked(
    spec: TensorSpec, value: Any, device: Device, *, written: bool = False
) -> DeviceTensor:
    tensor = _read(spec.name, value, written)
    if tensor.dtype != spec.dtype:
        raise ImageError(
            f"{spec.name} is of type {tensor.dtype} and this engine has {spec.dtype}: convert it"
        )
    if len(tensor.shape) != len(spec.shape):
        raise ImageError(
            f"{spec.name} has {len(tensor.shape)} dimensions, {_by(tensor.shape)}, and this engine "
            f"has {_by(spec.shape)}"
        )
    if tensor.pointer % _ALIGNMENT:
        raise ImageError(
            f"{spec.name} starts at an address that is no multiple of {_ALIGNMENT}, which TensorRT "
            f"does not take: copy it to memory of its own"
        )
    if not device.holds(tensor.pointer):
        raise ImageError(
            f"{spec.name} is not in memory of GPU {device.gpu.index} ({device.gpu.name}): copy it "
            f"there, or call the segmenter itself for what is in host memory"
        )
    return tensor


def _read(name: str, value: Any, written: bool) -> DeviceTensor:
    if isinstance(value, DeviceTensor):
        return value
    try:
        interface = getattr(value, "__cuda_array_interface__", None)
        if interface is not None:
            return _from_interface(name, interface, written)
        if hasattr(value, "__dlpack__"):
            return _from_dlpack(name, value)
    except ImageError:
        raise
    except Exception as error:  # whatever the library that made the tensor raises
        raise ImageError(f"{name} does not show its memory: {reason(error)}") from error
    raise ImageError(
        f"{name} is of type {type(value).__name__}: give something with __cuda_array_interface__ "
        f"or __dlpack__, or a dsunet_runtime.DeviceTensor"
    )


def _from_interface(name: str, interface: Mapping[str, Any], written: bool) -> DeviceTensor:
    pointer, read_only = interface["data"]
    if read_only and written:
        raise ImageError(f"{name} is read-only, and the engine writes to it: give another tensor")
    dtype, shape = np.dtype(interface["typestr"]), tuple(interface["shape"])
    strides = interface.get("strides")
    if strides is not None:
        _check_contiguous(name, shape, tuple(stride / dtype.itemsize for stride in strides))
    return DeviceTensor(pointer, shape, dtype.name if dtype.isnative else dtype.str)


def _from_dlpack(name: str, value: Any) -> DeviceTensor:
    if dlpack.device_kind(value) != dlpack.CUDA:
        raise ImageError(
            f"{name} is not in a GPU's memory: copy it there, or call the segmenter itself for "
            f"what is in host memory"
        )
    header = dlpack.read(value)
    if header.strides is not None:
        _check_contiguous(name, header.shape, header.strides)
    return DeviceTensor(header.pointer, header.shape, header.dtype)


def _check_contiguous(name: str, shape: Shape, strides: tuple[float, ...]) -> None:
    """Strides are in elements.  Those of dimensions with one element say nothing."""
    step = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != step:
            raise ImageError(
                f"{name} has gaps or another order of its dimensions (strides {_by(strides)} for "
                f"shape {_by(shape)}): make it contiguous"
            )
        step *= size


def _by(sizes: tuple[object, ...]) -> str:
    return "×".join(map(str, sizes))
