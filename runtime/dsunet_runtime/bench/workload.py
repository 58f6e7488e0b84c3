"""Workloads: calls of an artifact that are timed."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsunet_runtime.artifact.file_kinds import is_engine
from dsunet_runtime.artifact.manifest import Manifest
from dsunet_runtime.artifact.shapes import Shape, batch_range, output_shapes
from dsunet_runtime.bench.origin import Origin
from dsunet_runtime.closeable import Closeable
from dsunet_runtime.cuda import find
from dsunet_runtime.device_tensor import DeviceTensor
from dsunet_runtime.errors import BackendError
from dsunet_runtime.forms import Prepared, form_of
from dsunet_runtime.memory import check_memory
from dsunet_runtime.message_text import readable
from dsunet_runtime.provider import Provider
from dsunet_runtime.segmenter import Segmenter, load
from dsunet_runtime.selftest.policy import SelfTestPolicy

Call = Callable[[], object]
"""Computes one batch, and returns when its results are available to the caller."""


@dataclass(frozen=True, slots=True)
class Runner:
    """An artifact and the provider that runs it."""

    artifact: Path
    provider: Provider | None
    """None for engines."""
    name: str = ""
    """Name of the artifact in tables; empty for the file name."""
    allow_cpu_fallback: bool = False
    """See `dsunet_runtime.load`; without effect for engines and on the CPU."""
    selftest: SelfTestPolicy = SelfTestPolicy.AUTO
    """See `dsunet_runtime.load`."""

    @property
    def title(self) -> str:
        """Name of the artifact in tables and JSON."""
        return readable(self.name or self.artifact.name)

    @property
    def label(self) -> str:
        """Label for tables: the title, and the provider if that is not the CPU."""
        usual = self.provider in (None, Provider.CPU)
        return self.title if usual else f"{self.title} ({self.provider})"

    def load_options(self, threads: int | None) -> dict[str, Any]:
        """Return the arguments of `load`; engines use no provider and no CPU threads."""
        if self.provider is None:
            return {"selftest": self.selftest}
        return {
            "selftest": self.selftest,
            "provider": self.provider,
            "threads": threads,
            "allow_cpu_fallback": self.allow_cpu_fallback and self.provider.on_gpu,
        }


@dataclass(frozen=True, slots=True)
class Setting:
    """Origin of the inputs, batch, and number of streams."""

    origin: Origin
    batch: int
    streams: int
    """Number of threads that call concurrently."""

    def __str__(self) -> str:
        threads = "" if self.streams == 1 else f", {self.streams} streams"
        return f"from {self.origin}, batch {self.batch}{threads}"


@dataclass(frozen=True, slots=True)
class Workload:
    """A runner in a setting, ready to be timed.  `calls` has one call per stream."""

    runner: Runner
    setting: Setting
    calls: tuple[Call, ...]


def check_setting(
    runner: Runner, manifest: Manifest, setting: Setting, rgb: NDArray[np.uint8]
) -> None:
    """Raise BackendError if the artifact does not take the batch, or the inputs exceed the memory.

    `rgb` is the decoded image, H×W×3.
    """
    allowed = batch_range(manifest)
    most = allowed.maximum or setting.batch
    if not allowed.minimum <= setting.batch <= most:
        raise BackendError(
            f"{runner.artifact}: takes batches of {allowed.minimum} to {most}, not "
            f"{setting.batch}: choose another --batch"
        )
    inputs = form_of(manifest).prepare(rgb).inputs.values()
    size = setting.batch * setting.streams * sum(value.nbytes for value in inputs)
    check_memory(
        size,
        f"{runner.artifact}: the input of batch {setting.batch:,} in {setting.streams:,} streams",
        "lower --batch or --streams",
    )


class Workbench(Closeable):
    """A loaded runner and the input image, from which workloads are made."""

    def __init__(self, runner: Runner, image: Path, rgb: NDArray[np.uint8], threads: int | None):
        self._runner = runner
        self._image, self._rgb = image, rgb
        self._segmenter = load(runner.artifact, **runner.load_options(threads))
        self._resources = ExitStack()

    @property
    def manifest(self) -> Manifest:
        """Manifest of the artifact."""
        return self._segmenter.manifest

    def workload(self, setting: Setting) -> Workload:
        """Create a workload.  Raises BackendError if the artifact does not support the setting."""
        check_setting(self._runner, self.manifest, setting, self._rgb)
        calls = tuple(self._call(setting) for _ in range(setting.streams))
        return Workload(self._runner, setting, calls)

    def close(self) -> None:
        self._segmenter.close()
        self._resources.close()

    def _call(self, setting: Setting) -> Call:
        match setting.origin:
            case Origin.DEVICE:
                return self._on_device(setting.batch)
            case Origin.INPUTS:
                prepared = [self._segmenter.prepare(self._rgb)] * setting.batch
                return lambda: self._segmenter.infer(prepared)
            case Origin.ARRAY:
                arrays = [self._rgb] * setting.batch
                return lambda: self._segmenter.batch(arrays)
            case Origin.FILE:
                files = [self._image] * setting.batch
                return lambda: self._segmenter.batch(files)

    def _on_device(self, batch: int) -> Call:
        if not is_engine(self._runner.artifact):
            raise BackendError(
                f"{self._runner.artifact}: --from device supports engines only: use another "
                "--from, or build an engine with `dsunet-export trt`"
            )
        prepared = self._segmenter.prepare(self._rgb)
        return self._resources.enter_context(_DeviceCall(self._segmenter, prepared, batch))


class _DeviceCall(Closeable):
    """A call on buffers in GPU memory that are filled once."""

    def __init__(self, segmenter: Segmenter, prepared: Prepared, batch: int) -> None:
        cuda = find()
        self._segmenter = segmenter
        self._resources, self._buffers = ExitStack(), ExitStack()
        self._device = self._resources.enter_context(cuda.open(cuda.gpus()[0]))
        self._resources.callback(self._free)
        arrays = {name: np.stack([value] * batch) for name, value in prepared.inputs.items()}
        shapes = output_shapes(segmenter.manifest, {n: a.shape for n, a in arrays.items()})
        try:
            with self._device.current():
                self._stream = self._buffers.enter_context(self._device.stream())
                self._inputs = {name: self._filled(value) for name, value in arrays.items()}
                self._outputs = {
                    spec.name: self._tensor(shapes[spec.name], spec.dtype)
                    for spec in segmenter.manifest.outputs
                }
        except BaseException:
            self.close()
            raise

    def __call__(self) -> None:
        self._segmenter.run_device(self._inputs, self._outputs, stream=self._stream.handle)
        with self._device.current():
            self._stream.synchronize()

    def close(self) -> None:
        """Release the buffers and the stream, after the work on them is done."""
        self._resources.close()

    def _free(self) -> None:
        with self._device.current():
            self._buffers.close()

    def _filled(self, content: NDArray[Any]) -> DeviceTensor:
        tensor = self._tensor(content.shape, str(content.dtype))
        with self._device.pin(content.nbytes) as pinned:
            pinned.array[:] = content.reshape(-1).view(np.uint8)
            self._device.to_device(tensor.pointer, pinned.array, self._stream)
            self._stream.synchronize()
        return tensor

    def _tensor(self, shape: Shape, dtype: str) -> DeviceTensor:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        memory = self._buffers.enter_context(self._device.allocate(size))
        return DeviceTensor(memory.pointer, shape, dtype)
