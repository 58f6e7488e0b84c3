"""Slots: buffers for batches from and to host memory.

While the GPU computes the batch of one slot, the batch of the other slot is copied.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsunet_runtime.artifact.manifest import Manifest
from dsunet_runtime.artifact.shapes import Shape, output_shapes
from dsunet_runtime.backends.interface import Tensors
from dsunet_runtime.backends.tensorrt import execution
from dsunet_runtime.closeable import Closeable
from dsunet_runtime.cuda import Device


class Slot:
    """Buffers for one batch in flight.  For one thread at a time, with the device current.

    Buffers grow to the largest batch so far, so an engine for frames up to 4K uses memory for them
    only if they occur.
    """

    def __init__(self, device: Device, run: execution.Execution, manifest: Manifest) -> None:
        self._device = device
        self._run = run
        self._manifest = manifest
        with ExitStack() as stack:
            self._stream = stack.enter_context(device.stream())
            self._done = stack.enter_context(device.event())
            names = [spec.name for spec in (*manifest.inputs, *manifest.outputs)]
            self._buffers = {name: stack.enter_context(_Buffer(device)) for name in names}
            self._resources = stack.pop_all()
        self._results: Tensors = {}

    def start(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        """Enqueue copies to the GPU, a run, and copies back, without waiting.

        If it fails, call `wait` before the next batch.
        """
        self._results = {}
        shapes: dict[str, Shape] = {name: value.shape for name, value in inputs.items()}
        for name, value in inputs.items():
            buffer = self._buffers[name]
            view = buffer.view(value.shape, value.dtype)
            np.copyto(view, value)
            self._device.to_device(buffer.pointer, view, self._stream)
        outputs = output_shapes(self._manifest, shapes)
        self._results = {
            spec.name: self._buffers[spec.name].view(outputs[spec.name], np.dtype(spec.dtype))
            for spec in self._manifest.outputs
        }
        pointers = {name: buffer.pointer for name, buffer in self._buffers.items()}
        self._run.enqueue(execution.Bindings(shapes, pointers), self._stream)
        for name, view in self._results.items():
            self._device.to_host(view, self._buffers[name].pointer, self._stream)
        self._done.record(self._stream.handle)

    def finish(self) -> Tensors:
        """Wait for the batch and return copies of its outputs."""
        self._done.synchronize()
        return {name: view.copy() for name, view in self._results.items()}

    def wait(self) -> None:
        """Wait until the buffers are no longer in use."""
        self._stream.synchronize()

    def close(self) -> None:
        """Release the buffers.  Closing twice has no effect."""
        self._results = {}
        self._resources.close()


class _Buffer(Closeable):
    """Pinned host memory and device memory of the same size."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._resources = ExitStack()
        self._capacity = 0

    def view(self, shape: Shape, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the host buffer as an array; growing the buffer discards its content."""
        size = math.prod(shape) * dtype.itemsize
        if size > self._capacity:
            self.close()
            with ExitStack() as stack:
                self._memory = stack.enter_context(self._device.allocate(size))
                self._pinned = stack.enter_context(self._device.pin(size))
                self._resources = stack.pop_all()
            self._capacity = size
        return self._pinned.array[:size].view(dtype).reshape(shape)

    @property
    def pointer(self) -> int:
        """Device address."""
        return self._memory.pointer

    def close(self) -> None:
        self._capacity = 0
        self._resources.close()
