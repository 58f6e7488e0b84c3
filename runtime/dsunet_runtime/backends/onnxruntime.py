"""The ONNX Runtime backend, on the CPU or an NVIDIA GPU."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dsunet_runtime.backends import Backend, Tensors
from dsunet_runtime.errors import ArtifactError, BackendError
from dsunet_runtime.manifest import Manifest
from dsunet_runtime.provider import Provider

# What ONNX Runtime calls a file that is no model, or no whole one.
_BROKEN_MODEL = ("InvalidGraph", "InvalidProtobuf", "NoModel", "NoSuchFile")
_FATAL_ONLY = 4


class OnnxRuntimeBackend(Backend):
    """An ONNX file in an ONNX Runtime session.

    `threads` is how many threads share one operation; None is as many as there are cores.

    Raises BackendError if ONNX Runtime or the provider is missing or does not start, and
    ArtifactError if the file is no model or not the one that the manifest describes.
    """

    def __init__(
        self, path: Path, manifest: Manifest, provider: Provider, threads: int | None = None
    ) -> None:
        runtime = _import_onnxruntime()
        _check_available(runtime, provider)
        self._session = _create_session(runtime, path, provider, threads)
        _check_started(self._session, provider)
        _check_names(self._session, path, manifest)
        self._outputs = [spec.name for spec in manifest.outputs]

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        try:
            results = self._session.run(self._outputs, dict(inputs))
        except Exception as error:  # ONNX Runtime's exceptions have no base of their own
            raise BackendError(f"ONNX Runtime failed: {_one_line(error)}") from error
        return dict(zip(self._outputs, results, strict=True))

    def close(self) -> None:
        self._session = None


def _import_onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendError(
            "ONNX Runtime is not installed: pip install 'dsunet[cpu]', "
            "or 'dsunet[gpu]' for an NVIDIA GPU"
        ) from error
    return onnxruntime


def _check_available(runtime: Any, provider: Provider) -> None:
    available = runtime.get_available_providers()
    if provider.official_name in available:
        return
    usable = [p.value for p in Provider if p.official_name in available]
    raise BackendError(
        f"the installed ONNX Runtime {runtime.__version__} has no provider {provider.value!r}, "
        f"only {', '.join(usable)}: pip uninstall onnxruntime, then pip install 'dsunet[gpu]'"
    )


def _create_session(runtime: Any, path: Path, provider: Provider, threads: int | None) -> Any:
    options = runtime.SessionOptions()
    # Errors arrive as exceptions; without this they are printed as well.
    options.log_severity_level = _FATAL_ONLY
    if threads is not None:
        options.intra_op_num_threads = threads
    if provider is not Provider.CPU:
        _preload_cuda(runtime)
    try:
        # Without its own fallback, which prints and goes on with another provider than asked for.
        return runtime.InferenceSession(path, options, providers=provider.chain, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's exceptions have no base of their own
        if type(error).__name__ in _BROKEN_MODEL:
            raise ArtifactError(f"{path}: not a whole ONNX model: {_one_line(error)}") from error
        raise BackendError(f"{path}: ONNX Runtime cannot load it: {_one_line(error)}") from error


def _preload_cuda(runtime: Any) -> None:
    """Find the CUDA libraries of NVIDIA's wheels, without the advice that it prints to stdout."""
    with contextlib.redirect_stdout(io.StringIO()):
        runtime.preload_dlls()


def _check_started(session: Any, provider: Provider) -> None:
    if provider.official_name not in session.get_providers():
        raise BackendError(
            f"the provider {provider.value!r} did not start: it needs an NVIDIA GPU with its driver"
            f" and the CUDA and cuDNN{_ALSO_NEEDS.get(provider, '')} libraries that fit the "
            f"installed onnxruntime-gpu; pip install 'onnxruntime-gpu[cuda,cudnn]' brings CUDA's"
        )


_ALSO_NEEDS = {Provider.TENSORRT: " and TensorRT"}


def _check_names(session: Any, path: Path, manifest: Manifest) -> None:
    for kind, found, described in (
        ("inputs", session.get_inputs(), manifest.inputs),
        ("outputs", session.get_outputs(), manifest.outputs),
    ):
        in_graph, in_manifest = sorted(t.name for t in found), sorted(t.name for t in described)
        if in_graph != in_manifest:
            raise ArtifactError(
                f"{path}: the graph's {kind} are {', '.join(in_graph)} and the manifest's "
                f"{', '.join(in_manifest)}: export again"
            )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
