"""Execution of an engine: one execution context that all callers and streams share.

With one context, activation memory is needed once for all slots and callers.  Runs are serialised
on the GPU; copies overlap with them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from dsunet_runtime.artifact.shapes import Shape
from dsunet_runtime.backends.interface import closed
from dsunet_runtime.cuda import Device, Graph, Stream
from dsunet_runtime.errors import BackendError

# Handles of the legacy default stream (0, 1) and of the per-thread default stream (2).
_DEFAULT_STREAMS = (0, 1, 2)


class Bindings(NamedTuple):
    """Shapes and addresses of an engine's inputs and outputs, by tensor name."""

    shapes: Mapping[str, Shape]
    """Shapes of the inputs."""
    pointers: Mapping[str, int]
    """Device addresses of inputs and outputs."""


class Execution:
    """An execution context whose runs are serialised.  Safe to use from any thread.

    With `captures`, runs on internal streams are recorded as CUDA graphs and replayed.  (TensorRT
    for RTX does that itself.)  The device must be current in all methods.
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
        """Enqueue a run on an internal stream.  Raises BackendError if TensorRT fails.

        It may wait for earlier runs, to release graphs that are no longer used.
        """
        with self._lock:
            retired, self._retired = self._retired, []
        # Without the lock, since `enqueue_foreign` must not wait.
        self._free(retired)
        with self._lock, self._in_order(stream.handle):
            self._run(bindings, stream)

    def enqueue_foreign(self, bindings: Bindings, stream: int) -> None:
        """Enqueue a run on a stream of the caller, in order with the other work on it.

        On a default stream, TensorRT would synchronise with the whole GPU.  So the run is put on an
        internal stream, and the default stream waits for it, without blocking the host.
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
        """Wait for the last run, and release the context.  Closing twice has no effect."""
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
        """Order the work enqueued inside after all earlier runs and before all later ones."""
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
            # After a change of shapes, TensorRT requires a normal run before a capture.
            self._execute(bindings, stream.handle)

    def _capture(
        self, key: tuple[tuple[str, int], ...], bindings: Bindings, stream: Stream
    ) -> None:
        try:
            with self._device.capture(stream) as capture:
                self._execute(bindings, stream.handle)
        except BackendError:
            # Not every engine can be captured.
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
        """Discard the graphs, which are valid for one set of shapes only."""
        self._retired += self._graphs.values()
        self._graphs.clear()

    def _free(self, graphs: list[Graph]) -> None:
        """Wait until none of these graphs is running, and release them."""
        if graphs:
            self._done.synchronize()
        for graph in graphs:
            graph.close()

    def _require(self, succeeded: bool) -> None:
        if not succeeded:
            raise BackendError(f"TensorRT failed: {self._log.reason()}")
