"""The engine at work: one execution context, whoever enqueues, on whichever stream.

One context means one piece of device memory for activations, however many slots and callers there
are.  So its runs follow each other on the GPU; what overlaps with them are the copies.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from dsunet_runtime.backends import closed
from dsunet_runtime.cuda import Device, Graph, Stream
from dsunet_runtime.errors import BackendError
from dsunet_runtime.shapes import Shape

# The legacy default stream, by two names, and a thread's own.
_DEFAULT_STREAMS = (0, 1, 2)


class Bindings(NamedTuple):
    """Where an execution reads and writes, by the bindings' names."""

    shapes: Mapping[str, Shape]
    """Of the inputs."""
    pointers: Mapping[str, int]
    """Of inputs and outputs, in device memory."""


class Execution:
    """An execution context with its order.  Safe to use from any thread.

    `captures` says whether runs on a stream of our own are recorded as CUDA graphs and replayed
    (TensorRT for RTX is asked to do that itself).  All methods must be called with the device
    current.
    """

    def __init__(self, device: Device, context: Any, log: Any, *, captures: bool) -> None:
        self._device = device
        self._context: Any | None = context
        self._log = log
        self._lock = threading.Lock()
        self._done = device.event()
        self._arrived = device.event()
        self._detour = device.stream()
        self._captures = captures and device.captures
        self._shapes: dict[str, Shape] = {}
        self._graphs: dict[tuple[tuple[str, int], ...], Graph] = {}
        self._retired: list[Graph] = []

    def enqueue(self, bindings: Bindings, stream: Stream) -> None:
        """Put a run into a stream of our own.  Raises BackendError if TensorRT refuses it.

        May wait for runs before it, where recordings have become useless.
        """
        with self._lock:
            retired, self._retired = self._retired, []
        # Not with the lock, which `enqueue_foreign` must not wait for.
        self._free(retired)
        with self._lock, self._in_order(stream.handle):
            self._run(bindings, stream)

    def enqueue_foreign(self, bindings: Bindings, stream: int) -> None:
        """Put a run into anybody's stream, after what it holds and before what comes into it.

        On a default stream TensorRT would wait for the whole GPU.  So there the run takes a stream
        of our own, and the default stream waits for it, without the host doing so.
        """
        with self._lock:
            if stream not in _DEFAULT_STREAMS:
                with self._in_order(stream):
                    self._execute(bindings, stream)
                return
            self._arrived.record(stream)
            self._arrived.wait(self._detour.handle)
            with self._in_order(self._detour.handle):
                self._execute(bindings, self._detour.handle)
            self._done.wait(stream)

    def close(self) -> None:
        """Wait for the last run, and free the context; closing twice does nothing."""
        with self._lock:
            if self._context is None:
                return
            self._retire_graphs()
            try:
                self._done.synchronize()
                self._free(self._retired)
            finally:
                self._context = None
                for handle in (self._done, self._arrived, self._detour):
                    handle.close()

    @contextmanager
    def _in_order(self, stream: int) -> Iterator[None]:
        """What comes into the stream inside runs after all runs before it, and before all later."""
        self._done.wait(stream)
        try:
            yield
        finally:
            self._done.record(stream)

    def _run(self, bindings: Bindings, stream: Stream) -> None:
        key = tuple(bindings.pointers.items())
        repeated = bindings.shapes == self._shapes
        if repeated and key in self._graphs:
            self._graphs[key].launch(stream.handle)
        elif repeated and self._captures:
            self._capture(key, bindings, stream)
        else:
            # TensorRT wants a plain run after a change of shapes before a recording.
            self._execute(bindings, stream.handle)

    def _capture(
        self, key: tuple[tuple[str, int], ...], bindings: Bindings, stream: Stream
    ) -> None:
        try:
            with self._device.capture(stream) as capture:
                self._execute(bindings, stream.handle)
        except BackendError:
            # Not every engine can be recorded; all of them can be run.
            self._captures = False
            self._execute(bindings, stream.handle)
            return
        self._graphs[key] = capture.graph
        capture.graph.launch(stream.handle)

    def _execute(self, bindings: Bindings, stream: int) -> None:
        if self._context is None:
            raise closed()
        self._log.clear()
        if bindings.shapes != self._shapes:
            self._retire_graphs()
            self._shapes = {}
            for name, shape in bindings.shapes.items():
                self._require(self._context.set_input_shape(name, shape))
            self._shapes = dict(bindings.shapes)
        for name, pointer in bindings.pointers.items():
            self._require(self._context.set_tensor_address(name, pointer))
        self._require(self._context.execute_async_v3(stream))

    def _retire_graphs(self) -> None:
        """A recording holds for one set of shapes in the context."""
        self._retired += self._graphs.values()
        self._graphs.clear()

    def _free(self, graphs: list[Graph]) -> None:
        """Wait until none of these runs any more; none of them is launched again."""
        if graphs:
            self._done.synchronize()
        for graph in graphs:
            graph.close()

    def _require(self, succeeded: bool) -> None:
        if not succeeded:
            raise BackendError(f"TensorRT failed: {self._log.reason()}")
