"""Tensors of the caller in GPU memory: validated, and used without a copy."""

from __future__ import annotations

import contextlib
import ctypes
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np

from dsunet_runtime.artifact.manifest import Manifest, TensorSpec
from dsunet_runtime.artifact.shapes import Shape, input_ranges, output_shapes, outside
from dsunet_runtime.backends.tensorrt import dlpack, execution
from dsunet_runtime.cuda import Device
from dsunet_runtime.device_tensor import DeviceTensor
from dsunet_runtime.errors import BackendError, ImageError
from dsunet_runtime.message_text import quote, reason, shorten

_ALIGNMENT = 256
"""Alignment in bytes that TensorRT requires of addresses."""
_STREAM_ATTRIBUTES = ("cuda_stream", "ptr", "handle")
"""Attributes of the stream's handle in PyTorch, in CuPy, and in PyCUDA and Numba."""


def bind_tensors(
    manifest: Manifest, device: Device, inputs: Mapping[str, Any], outputs: Mapping[str, Any]
) -> execution.Bindings:
    """Validate the tensors of a call, and return their shapes and addresses.

    Raises ImageError unless there is a tensor for every input and output, of the right type and
    shape, contiguous, and in memory of the device.
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
    """Return the handle of a CUDA stream, given as a number or as a stream of any library.

    Raises BackendError if it is neither.
    """
    try:
        return _as_number(_handle_of(stream))
    except Exception as error:  # of the library that created the stream
        raise BackendError(
            f"stream is {quote(repr(stream))}: give a stream of PyTorch, CuPy, Numba, PyCUDA or "
            f"cuda-python, or its handle as a number (0 is the default stream)"
        ) from error


def _handle_of(stream: Any) -> Any:
    """Return the attribute that contains the handle, or the stream itself."""
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
    return int(handle.__int__())  # cuda-python's; strings have no __int__


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
        raise ImageError(f"the inputs have different batch sizes ({sizes}): use one size")


def _checked(
    spec: TensorSpec, value: Any, device: Device, *, written: bool = False
) -> DeviceTensor:
    tensor = _read(spec.name, value, written)
    if tensor.dtype != spec.dtype:
        raise ImageError(
            f"{spec.name} is of type {tensor.dtype} and this engine takes {spec.dtype}: convert it"
        )
    if len(tensor.shape) != len(spec.shape):
        raise ImageError(
            f"{spec.name} has {len(tensor.shape)} dimensions, {_by(tensor.shape)}, and this engine "
            f"has {_by(spec.shape)}"
        )
    if tensor.pointer % _ALIGNMENT:
        raise ImageError(
            f"the address of {spec.name} is not a multiple of {_ALIGNMENT}, as TensorRT requires: "
            f"copy it to a new tensor"
        )
    if not device.holds(tensor.pointer):
        raise ImageError(
            f"{spec.name} is not in the memory of GPU {device.gpu.index} ({device.gpu.name}): copy "
            f"it there, or call the segmenter for images in host memory"
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
    except Exception as error:  # of the library that created the tensor
        raise ImageError(f"the memory of {name} cannot be accessed: {reason(error)}") from error
    raise ImageError(
        f"{name} is of type {type(value).__name__}: use a tensor with __cuda_array_interface__ "
        f"or __dlpack__, or a dsunet_runtime.DeviceTensor"
    )


def _from_interface(name: str, interface: Mapping[str, Any], written: bool) -> DeviceTensor:
    pointer, read_only = interface["data"]
    if read_only and written:
        raise ImageError(f"{name} is read-only, and the engine writes to it: use another tensor")
    dtype, shape = np.dtype(interface["typestr"]), tuple(interface["shape"])
    strides = interface.get("strides")
    if strides is not None:
        _check_contiguous(name, shape, tuple(stride / dtype.itemsize for stride in strides))
    return DeviceTensor(pointer, shape, dtype.name if dtype.isnative else dtype.str)


def _from_dlpack(name: str, value: Any) -> DeviceTensor:
    if dlpack.device_kind(value) != dlpack.CUDA:
        raise ImageError(
            f"{name} is not in GPU memory: copy it there, or call the segmenter for images in host "
            f"memory"
        )
    header = dlpack.read(value)
    if header.strides is not None:
        _check_contiguous(name, header.shape, header.strides)
    return DeviceTensor(header.pointer, header.shape, header.dtype)


def _check_contiguous(name: str, shape: Shape, strides: tuple[float, ...]) -> None:
    """Check strides in elements; those of dimensions of size 1 are arbitrary."""
    step = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != step:
            raise ImageError(
                f"{name} is not contiguous in row-major order (strides {_by(strides)} for shape "
                f"{_by(shape)}): make it contiguous"
            )
        step *= size


def _by(sizes: tuple[object, ...]) -> str:
    return "×".join(map(str, sizes))
