"""The TensorRT backend: engines of both flavors, with inputs in host or in GPU memory."""

from __future__ import annotations

import contextlib
import queue
import threading
import traceback
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.artifact.integrity import check_hashes
from dsunet_runtime.artifact.manifest import Manifest
from dsunet_runtime.backends.interface import Backend, Tensors, closed
from dsunet_runtime.backends.tensorrt.compatibility import (
    check_platform,
    choose_gpu,
    engine_of,
    find_cuda,
    load_flavor,
)
from dsunet_runtime.backends.tensorrt.device_tensors import bind_tensors, stream_handle
from dsunet_runtime.backends.tensorrt.engine import LoadedEngine
from dsunet_runtime.backends.tensorrt.execution import Execution
from dsunet_runtime.backends.tensorrt.log import log_of
from dsunet_runtime.backends.tensorrt.runtime_cache import cache_file
from dsunet_runtime.backends.tensorrt.slots import Slot
from dsunet_runtime.cuda import Cuda, Device, nvml
from dsunet_runtime.errors import BackendError

_SLOTS = 2
"""Two slots overlap copies with computation; more would only use memory."""


class TensorRTBackend(Backend):
    """An engine on the first CUDA device; with `domain`, with the trained weights of an ONNX file.

    Raises BackendError if a library is missing or the engine does not fit the machine, and
    ArtifactError if the file does not match its manifest.
    """

    concurrency = _SLOTS

    def __init__(self, path: Path, manifest: Manifest, domain: Path | None = None) -> None:
        check_platform(path, manifest)
        trt = load_flavor(path, manifest)
        cuda = find_cuda(path, manifest)
        gpu = choose_gpu(path, manifest, cuda, trt)
        check_hashes(path, manifest)
        self._manifest = manifest
        self._closing = threading.Lock()
        self._closed = False
        self._free: queue.LifoQueue[Slot | None] = queue.LifoQueue()
        with ExitStack() as stack:
            self._device = stack.enter_context(cuda.open(gpu))
            with self._device.current(), ExitStack() as resources:
                try:
                    engine = LoadedEngine(trt, path, manifest, log_of(trt), domain)
                    resources.callback(engine.close)
                    cache = self._cache_file(path, cuda, trt.__version__)
                    self._execution = _start(engine, cache, self._device, log_of(trt), resources)
                    for _ in range(_SLOTS):
                        slot = Slot(self._device, self._execution, manifest)
                        resources.callback(slot.close)
                        self._free.put(slot)
                except BaseException as error:
                    # Otherwise objects in the frames would live as long as the error.
                    traceback.clear_frames(error.__traceback__)
                    raise
                self._resources = resources.pop_all()
            self.machine = (
                f"{engine_of(manifest).flavor.title} {trt.__version__}",
                gpu.name,
                _driver(cuda),
            )
            stack.pop_all()

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        (outputs,) = self.infer_each([inputs])
        return outputs

    def infer_each(self, batches: Iterable[Mapping[str, NDArray[Any]]]) -> Iterator[Tensors]:
        """See `Backend.infer_each`.  Each batch in flight uses a slot that is free."""
        held: deque[Slot] = deque()
        try:
            for batch in batches:
                slot = self._take(wait=not held)
                if slot is not None:
                    held.append(slot)
                    self._start(slot, batch)
                    continue
                # The oldest slot starts this batch before its results are yielded.
                held.rotate(-1)
                outputs = self._finish(held[-1])
                self._start(held[-1], batch)
                yield outputs
            while held:
                outputs = self._finish(held[0])
                self._free.put(held.popleft())
                yield outputs
        finally:
            # Always return the slots, or other threads would wait forever.
            with ExitStack() as stack:
                for slot in held:
                    stack.callback(self._free.put, slot)
                    stack.callback(self._wait, slot)

    def run_device(
        self, inputs: Mapping[str, Any], outputs: Mapping[str, Any], stream: Any
    ) -> None:
        handle = stream_handle(stream)
        if self._closed:
            raise closed()
        with self._device.current():
            tensors = bind_tensors(self._manifest, self._device, inputs, outputs)
            self._execution.enqueue_foreign(tensors, handle)

    def close(self) -> None:
        """Wait for calls in other threads and for work on streams, then release everything."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            for _ in range(_SLOTS):
                self._free.get()
            self._free.put(None)
            # Failures on a lost GPU have been reported before.
            with contextlib.suppress(BackendError), self._device.current():
                self._resources.close()
            with contextlib.suppress(BackendError):
                self._device.close()

    def _cache_file(self, path: Path, cuda: Cuda, version: str) -> Path | None:
        """The runtime cache of an engine of TensorRT for RTX; None for classic TensorRT."""
        if engine_of(self._manifest).flavor is not Flavor.RTX:
            return None
        return cache_file(path, self._device.gpu, _driver(cuda), version)

    def _take(self, *, wait: bool) -> Slot | None:
        """Take a free slot; None if there is none and `wait` is false."""
        try:
            slot = self._free.get(block=wait)
        except queue.Empty:
            return None
        if slot is None:
            self._free.put(None)
            raise closed()
        return slot

    def _start(self, slot: Slot, batch: Mapping[str, NDArray[Any]]) -> None:
        with self._device.current():
            slot.start(batch)

    def _wait(self, slot: Slot) -> None:
        # If the GPU is lost, the call that used the slot has reported it.
        with contextlib.suppress(BackendError), self._device.current():
            slot.wait()

    def _finish(self, slot: Slot) -> Tensors:
        with self._device.current():
            return slot.finish()


def _driver(cuda: Cuda) -> str:
    """The driver's version, or without NVML that of CUDA."""
    return nvml.driver_version() or f"cuda{cuda.version()}"


def _start(
    engine: LoadedEngine, cache: Path | None, device: Device, log: Any, resources: ExitStack
) -> Execution:
    """Create the engine's execution context, which `resources` releases."""
    context = engine.create_context(cache)
    execution = Execution(device, context, log, captures=cache is None)
    resources.callback(execution.close)
    # Save kernels compiled with the context now, and those compiled by runs at the end.
    engine.save_cache()
    resources.callback(engine.save_cache)
    return execution
