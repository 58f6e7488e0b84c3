"""From an engine file to an engine in device memory that is what its manifest says."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np

from dsunet_runtime.artifact import weights_source
from dsunet_runtime.backends.tensorrt.compatibility import engine_of, rebuild_command
from dsunet_runtime.errors import ArtifactError, BackendError
from dsunet_runtime.manifest import Manifest, TensorSpec
from dsunet_runtime.shapes import Range, input_ranges

_PROFILE = 0
"""The builder makes one profile."""


def make_log(trt: Any) -> Any:
    """A logger for TensorRT that prints nothing and remembers the first error.

    Its `take()` gives that error as one line, and forgets it.
    """

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._error = ""

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR) and not self._error:
                self._error = " ".join(message.split())

        def take(self) -> str:
            error, self._error = self._error, ""
            return error or "it gives no reason"

    return Log()


def open_engine(trt: Any, path: Path, manifest: Manifest, log: Any) -> Any:
    """Deserialise an engine, and give it its weights if they were stripped.

    Raises BackendError if TensorRT refuses it, and ArtifactError if it is not what the manifest
    describes.
    """
    runtime = trt.Runtime(log)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        _check_validity(trt, runtime, content, path, manifest)
        engine = runtime.deserialize_cuda_engine(content)
    if engine is None:
        raise BackendError(f"{path}: TensorRT cannot load it: {log.take()}")
    if engine_of(manifest).weights_stripped:
        _refit(trt, engine, weights_source(path, manifest), log)
    _check_tensors(trt, engine, path, manifest)
    return engine


def _check_validity(
    trt: Any, runtime: Any, content: mmap.mmap, path: Path, manifest: Manifest
) -> None:
    """Ask TensorRT for RTX what it thinks of the engine; the classic one cannot be asked."""
    if not hasattr(runtime, "get_engine_validity"):
        return
    validity, diagnostics = runtime.get_engine_validity(content)
    if validity != trt.EngineValidity.INVALID:
        return
    causes = trt.EngineInvalidityDiagnostics
    found = {name for name, bit in causes.__members__.items() if int(diagnostics) & int(bit)}
    if "INSUFFICIENT_GPU_MEMORY" in found:
        remedy = "end what else runs on the GPU, or build with a smaller `--batch` or `--size`"
    elif found & {"OLD_CUDA_DRIVER", "OLD_CUDA_RUNTIME", "CUDA_ERROR"}:
        remedy = "update the NVIDIA driver"
    else:
        remedy = f"build it again: {rebuild_command(path, manifest)}"
    reasons = ", ".join(sorted(found)).lower().replace("_", " ")
    raise BackendError(f"{path}: cannot run here ({reasons or 'no reason given'}): {remedy}")


def _refit(trt: Any, engine: Any, graph: Path, log: Any) -> None:
    refitter = trt.Refitter(engine, log)
    parser = trt.OnnxParserRefitter(refitter, log)
    if not parser.refit_from_file(str(graph)):
        reasons = [parser.get_error(index).desc() for index in range(parser.num_errors)]
        reason = " ".join(reasons[0].split()) if reasons else log.take()
        raise BackendError(f"{graph}: its weights do not go into the engine: {reason}")
    if not refitter.refit_cuda_engine():
        raise BackendError(f"{graph}: its weights do not fill the engine: {log.take()}")


def _check_tensors(trt: Any, engine: Any, path: Path, manifest: Manifest) -> None:
    ranges = input_ranges(manifest)
    found = {engine.get_tensor_name(index) for index in range(engine.num_io_tensors)}
    described = {spec.name for spec in (*manifest.inputs, *manifest.outputs)}
    fits = found == described and all(
        _is(trt, engine, spec, mode)
        for mode, specs in (("INPUT", manifest.inputs), ("OUTPUT", manifest.outputs))
        for spec in specs
    )
    if not fits or not all(_takes(engine, name, ranges[name]) for name in ranges):
        raise ArtifactError(
            f"{path}: its tensors are not those that its manifest describes: build it again: "
            f"{rebuild_command(path, manifest)}"
        )


def _is(trt: Any, engine: Any, spec: TensorSpec, mode: str) -> bool:
    """Whether the engine has the tensor as the manifest describes it, sizes left out."""
    dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(spec.name)))
    return (
        engine.get_tensor_mode(spec.name) == getattr(trt.TensorIOMode, mode)
        and dtype == np.dtype(spec.dtype)
        and len(engine.get_tensor_shape(spec.name)) == len(spec.shape)
    )


def _takes(engine: Any, name: str, ranges: tuple[Range, ...]) -> bool:
    """Whether the engine takes an input in just these ranges."""
    sizes = tuple(engine.get_tensor_shape(name))
    if -1 not in sizes:
        ends = [sizes] * 3
    else:
        ends = [tuple(shape) for shape in engine.get_tensor_profile_shape(name, _PROFILE)]
    return ends == [
        tuple(r.minimum for r in ranges),
        tuple(r.optimum for r in ranges),
        tuple(r.maximum for r in ranges),
    ]
