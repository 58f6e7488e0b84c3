"""Loading an engine file into GPU memory, and checking it against its manifest."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np

from dsunet_runtime.artifact.integrity import weights_source
from dsunet_runtime.artifact.manifest import Manifest, TensorSpec
from dsunet_runtime.artifact.shapes import Range, input_ranges
from dsunet_runtime.backends.tensorrt.compatibility import engine_of, rebuild_command
from dsunet_runtime.backends.tensorrt.runtime_cache import RuntimeCache
from dsunet_runtime.closeable import Closeable
from dsunet_runtime.cuda.errors import FREE_MEMORY
from dsunet_runtime.errors import ArtifactError, BackendError
from dsunet_runtime.files import map_file
from dsunet_runtime.message_text import printable

_PROFILE = 0
"""`dsunet-export trt` builds engines with one profile."""


class LoadedEngine(Closeable):
    """An engine in GPU memory, with the configuration and cache of its execution context.

    TensorRT requires that configuration and cache outlive the context created with them, but the
    context does not hold references to them.  So they are kept here, and the context must be
    dropped before this object is closed.

    `domain` is an ONNX file whose trained weights replace those of the engine; None keeps them.
    Raises BackendError if TensorRT rejects the engine or those weights, and ArtifactError if the
    engine does not match its manifest.
    """

    def __init__(
        self, trt: Any, path: Path, manifest: Manifest, log: Any, domain: Path | None = None
    ) -> None:
        self._trt = trt
        self._path = path
        self._log = log
        self._config: Any = None
        self._cache: RuntimeCache | None = None
        self._runtime = trt.Runtime(log)
        self._engine = _deserialize(trt, self._runtime, path, manifest, log)
        if engine_of(manifest).weights_stripped:
            _refit(trt, self._engine, weights_source(path, manifest), log)
        if domain is not None:
            _refit(trt, self._engine, domain, log)
        _check_tensors(trt, self._engine, path, manifest)

    def create_context(self, cache_file: Path | None) -> Any:
        """Create the execution context.

        Args:
            cache_file: Runtime cache of TensorRT for RTX.  None for classic TensorRT, which
                compiles nothing at run time, and for profiling: then TensorRT records no CUDA
                graphs, inside which layers cannot be timed.

        Raises:
            BackendError: TensorRT cannot create the context.
        """
        arguments = []
        if cache_file is not None:
            self._config = self._engine.create_runtime_config()
            # TensorRT then records graphs itself, also for new shapes.  Its behaviour with changing
            # addresses, as in `run_device`, is neither documented nor measured yet.
            self._config.cuda_graph_strategy = self._trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            self._cache = RuntimeCache(self._config, cache_file)
            arguments.append(self._config)
        self._log.clear()
        context = self._engine.create_execution_context(*arguments)
        if context is None:
            raise BackendError(
                f"{self._path}: TensorRT cannot create an execution context: {self._log.reason()}"
            )
        return context

    def describe(self, context: Any) -> str:
        """Return the layers as JSON of TensorRT's engine inspector; input shapes must be set.

        The detail depends on the profiling verbosity that the engine was built with.
        """
        inspector = self._engine.create_engine_inspector()
        inspector.execution_context = context
        return str(inspector.get_engine_information(self._trt.LayerInformationFormat.JSON))

    def save_cache(self) -> None:
        """Save newly compiled kernels for later processes."""
        if self._cache is not None:
            self._cache.save()

    def close(self) -> None:
        """Release everything in the order that TensorRT requires."""
        self._cache = None
        self._config = None
        self._engine = None
        self._runtime = None


def _deserialize(trt: Any, runtime: Any, path: Path, manifest: Manifest, log: Any) -> Any:
    with map_file(path) as content:
        _check_validity(trt, runtime, content, path, manifest)
        log.clear()
        engine = runtime.deserialize_cuda_engine(content)
    if engine is None:
        raise BackendError(f"{path}: TensorRT cannot load it: {log.reason()}")
    return engine


def _check_validity(
    trt: Any, runtime: Any, content: mmap.mmap, path: Path, manifest: Manifest
) -> None:
    """Check the validity of the engine, which TensorRT for RTX reports and classic does not."""
    if not hasattr(runtime, "get_engine_validity"):
        return
    validity, diagnostics = runtime.get_engine_validity(content)
    if validity != trt.EngineValidity.INVALID:
        return
    causes = trt.EngineInvalidityDiagnostics
    found = {name for name, bit in causes.__members__.items() if int(diagnostics) & int(bit)}
    if "INSUFFICIENT_GPU_MEMORY" in found:
        remedy = FREE_MEMORY
    elif found & {"OLD_CUDA_DRIVER", "OLD_CUDA_RUNTIME", "CUDA_ERROR"}:
        remedy = "update the NVIDIA driver"
    else:
        remedy = f"build it again: {rebuild_command(path, manifest)}"
    reasons = ", ".join(sorted(found)).lower().replace("_", " ")
    raise BackendError(
        f"{path}: cannot run on this machine ({reasons or 'no reason given'}): {remedy}"
    )


def _refit(trt: Any, engine: Any, graph: Path, log: Any) -> None:
    refitter = trt.Refitter(engine, log)
    parser = trt.OnnxParserRefitter(refitter, log)
    log.clear()
    if not parser.refit_from_file(str(graph)):
        reason = _first_error(parser) or log.reason()
        raise BackendError(f"{graph}: its weights cannot be loaded into the engine: {reason}")
    if not refitter.refit_cuda_engine():
        raise BackendError(
            f"{graph}: the engine cannot be refitted with its weights: {log.reason()}"
        )


def _first_error(parser: Any) -> str:
    """Return the parser's first error with the node's name on one line, or an empty string."""
    if not parser.num_errors:
        return ""
    error = parser.get_error(0)
    node = f" (node {printable(error.node_name())})" if error.node_name() else ""
    return printable(error.desc()) + node


def _check_tensors(trt: Any, engine: Any, path: Path, manifest: Manifest) -> None:
    ranges = input_ranges(manifest)
    found = {engine.get_tensor_name(index) for index in range(engine.num_io_tensors)}
    described = {spec.name for spec in (*manifest.inputs, *manifest.outputs)}
    fits = found == described and all(
        _matches(trt, engine, spec, mode)
        for mode, specs in (("INPUT", manifest.inputs), ("OUTPUT", manifest.outputs))
        for spec in specs
    )
    if not fits or not all(_has_ranges(engine, name, ranges[name]) for name in ranges):
        raise ArtifactError(
            f"{path}: its inputs and outputs differ from those in its manifest: build it again: "
            f"{rebuild_command(path, manifest)}"
        )


def _matches(trt: Any, engine: Any, spec: TensorSpec, mode: str) -> bool:
    """Whether the engine has the tensor with the manifest's mode, type and rank."""
    dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(spec.name)))
    return (
        engine.get_tensor_mode(spec.name) == getattr(trt.TensorIOMode, mode)
        and dtype == np.dtype(spec.dtype)
        and len(engine.get_tensor_shape(spec.name)) == len(spec.shape)
    )


def _has_ranges(engine: Any, name: str, ranges: tuple[Range, ...]) -> bool:
    """Whether the engine's profile for an input has exactly these ranges."""
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
