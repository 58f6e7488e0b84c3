"""The ONNX Runtime backend, on the CPU or an NVIDIA GPU."""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.artifact.integrity import weights_files
from dsunet_runtime.artifact.manifest import FLOAT8, Manifest
from dsunet_runtime.backends.cache_folder import cache_folder
from dsunet_runtime.backends.graph_names import check_names
from dsunet_runtime.backends.interface import Backend, Tensors
from dsunet_runtime.backends.onnxruntime.execution_providers import (
    available_providers,
    check_available,
    check_started,
    select_provider,
    versioned_name,
)
from dsunet_runtime.backends.onnxruntime.libraries import loaded_libraries
from dsunet_runtime.backends.onnxruntime.placement import check_placement, record_placement
from dsunet_runtime.cuda import nvml
from dsunet_runtime.errors import ArtifactError, BackendError
from dsunet_runtime.extras import does_not_load, install_command, is_absent
from dsunet_runtime.files import is_unicode, map_file, resolved
from dsunet_runtime.message_text import reason
from dsunet_runtime.provider import Provider

# Names of ONNX Runtime's exceptions for files that are damaged or not a model.
_BROKEN_MODEL = ("InvalidGraph", "InvalidProtobuf", "NoModel", "NoSuchFile")
_FATAL_ONLY = 4
_CHOOSE_GPU = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")
# Neither a rearranged copy of the weights nor a copy of linked ones.
_MAPPED_WEIGHTS = (
    "session.disable_prepacking",
    "session.use_external_initializer_file_buffers_directly",
)
# An ONNX file: y = Identity(x), one float32, opset 13.
_SMALLEST_MODEL = (
    b'\x08\x08:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01g'
    b"Z\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01"
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)


class OnnxRuntimeBackend(Backend):
    """An ONNX file in an ONNX Runtime session.

    `threads` is the number of CPU threads per operation; None is one per core.  With
    `mapped_weights`, weights in files beside the artifact are used in place, mapped into memory.

    Raises BackendError if ONNX Runtime or the execution provider is missing or does not start, or
    if a provider on the GPU leaves the network to the CPU and that is not allowed; and
    ArtifactError if the file is not a valid model or does not match the manifest.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        provider: Provider,
        threads: int | None = None,
        allow_cpu_fallback: bool = False,
        mapped_weights: bool = False,
    ) -> None:
        runtime = import_onnxruntime()
        check_available(runtime, provider)
        options = session_options(runtime, threads, manifest)
        if mapped_weights:
            for entry in _MAPPED_WEIGHTS:
                options.add_session_config_entry(entry, "1")
        must_use_gpu = provider.on_gpu and not allow_cpu_fallback
        if must_use_gpu:
            record_placement(options)
        session, contents = _create_session(runtime, path, manifest, provider, options)
        if must_use_gpu:
            check_placement(session, path, provider)
        check_names(path, manifest, _names(session.get_inputs()), _names(session.get_outputs()))
        self._session = session
        self._contents = contents if mapped_weights else []
        self._outputs = [spec.name for spec in manifest.outputs]
        if provider is not Provider.CPU:
            self.machine = machine_of(runtime.__version__, provider)

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        try:
            results = self._session.run(self._outputs, dict(inputs))
        except Exception as error:  # ONNX Runtime's exceptions have no common base class
            raise BackendError(f"ONNX Runtime failed: {reason(error)}") from error
        return dict(zip(self._outputs, results, strict=True))

    def close(self) -> None:
        self._session = None
        self._contents = []


def machine_of(version: str, provider: Provider) -> tuple[str, ...]:
    """Return `Backend.machine` for a provider on the GPU.

    NVML lists all GPUs; the environment variables select among them.
    """
    chosen = [f"{name}={os.environ[name]}" for name in _CHOOSE_GPU if name in os.environ]
    return (
        f"ONNX Runtime {version}",
        versioned_name(provider),
        *(nvml.gpu_names() or ()),
        *chosen,
        nvml.driver_version() or "unknown driver",
        *loaded_libraries(),
    )


def check_provider(provider: Provider) -> None:
    """Raise BackendError unless ONNX Runtime is installed and the execution provider starts.

    For providers on the GPU this takes seconds.
    """
    runtime = import_onnxruntime()
    check_available(runtime, provider)
    try:
        _open(runtime, _SMALLEST_MODEL, provider, session_options(runtime, None))
    except BackendError:
        raise
    except Exception as error:  # ONNX Runtime's exceptions have no common base class
        raise BackendError(
            f"the provider {provider.value!r} does not start: {reason(error)}"
        ) from error


def installed_providers() -> list[Provider]:
    """Return the providers of the installed ONNX Runtime; none if none is, or it does not load."""
    try:
        return available_providers(import_onnxruntime())
    except BackendError:
        return []


def import_onnxruntime() -> Any:
    """Import the package.  Raises BackendError if it is not installed or does not load."""
    # Telemetry would contact Microsoft, and write an identifier into the home folder.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except (ImportError, OSError) as error:
        if is_absent("onnxruntime", error):
            raise BackendError(
                f"ONNX Runtime is not installed: {install_command('cpu')}, "
                f"or {install_command('gpu')} for an NVIDIA GPU"
            ) from error
        command = install_command("gpu" if _is_gpu_build_installed() else "cpu")
        raise BackendError(does_not_load("ONNX Runtime", error, command)) from error
    return onnxruntime


def _is_gpu_build_installed() -> bool:
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        distribution("onnxruntime-gpu")
    except PackageNotFoundError:
        return False
    return True


def session_options(runtime: Any, threads: int | None, manifest: Manifest | None = None) -> Any:
    """Return the options of every session; for `threads` see `OnnxRuntimeBackend`."""
    options = runtime.SessionOptions()
    # Errors are raised as exceptions; by default they would be printed as well.
    options.log_severity_level = _FATAL_ONLY
    if threads is not None:
        options.intra_op_num_threads = threads
    if manifest is not None and manifest.precision.element_type == FLOAT8:
        disable_float8_fusion(options)
    return options


def disable_float8_fusion(options: Any) -> None:
    """Disable the fusion of float8 matmuls into operators that support integers only."""
    options.add_session_config_entry("session.disable_quant_qdq", "1")


def add_linked_weights(options: Any, path: Path, manifest: Manifest) -> list[mmap.mmap]:
    """Add external weights that are links to session options.

    ONNX Runtime rejects weights in another folder, because a graph may name any file.  These names
    are in the manifest, the links are next to the artifact, and the hashes are verified.  Keep the
    returned mappings until the session is open; with `_MAPPED_WEIGHTS`, until it is closed.
    """
    give = getattr(options, "add_external_initializers_from_files_in_memory", None)
    linked = {
        name: file
        for name, file in weights_files(path, manifest).items()
        if resolved(file).parent != resolved(path.parent)
    }
    if give is None or not linked:  # versions before 1.24 accept links
        return []
    contents = [map_file(file) for file in linked.values()]
    give(list(linked), contents, [len(content) for content in contents])
    return contents


def _create_session(
    runtime: Any, path: Path, manifest: Manifest, provider: Provider, options: Any
) -> tuple[Any, list[mmap.mmap]]:
    """Return a session, and the mappings of its linked weights."""
    if not is_unicode(path):
        raise ArtifactError(
            f"{path}: ONNX Runtime cannot open a path that is not UTF-8: rename the file or folder"
        )
    try:
        contents = add_linked_weights(options, path, manifest)
        cache = cache_folder(path, manifest, provider)
        return _open(runtime, path, provider, options, cache), contents
    except BackendError:
        raise
    except Exception as error:  # ONNX Runtime's exceptions have no common base class
        if type(error).__name__ in _BROKEN_MODEL:
            raise ArtifactError(f"{path}: not a whole ONNX model: {reason(error)}") from error
        hint = _bf16_remedy(provider) if _computes_in_bf16(manifest) else ""
        raise BackendError(f"{path}: ONNX Runtime cannot load it: {reason(error)}{hint}") from error


def _computes_in_bf16(manifest: Manifest) -> bool:
    return manifest.precision.compute == Compute.BF16.element_type


def _bf16_remedy(provider: Provider) -> str:
    """Return the remedy for a provider that lacks operators in bf16."""
    if provider is Provider.CPU:
        return "; the provider 'openvino' runs bf16 artifacts on a CPU"
    return (
        f"; the provider '{provider}' may lack bf16 operators: export with --precision fp16, or "
        f"build an engine with `dsunet-export trt`"
    )


def _names(tensors: Any) -> list[str]:
    return [tensor.name for tensor in tensors]


def _open(
    runtime: Any, model: Path | bytes, provider: Provider, options: Any, cache: Path | None = None
) -> Any:
    """Open a session on a file or its bytes."""
    further = select_provider(runtime, provider, options, cache)
    # Without the fallback of ONNX Runtime, which prints and continues with another provider.
    session = runtime.InferenceSession(model, options, enable_fallback=0, **further)
    check_started(session, provider)
    return session
