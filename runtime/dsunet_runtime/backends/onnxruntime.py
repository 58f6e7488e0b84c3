"""The ONNX Runtime backend, on the CPU or an NVIDIA GPU."""

from __future__ import annotations

import contextlib
import io
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dsunet_runtime.artifact import weights_files
from dsunet_runtime.backends import Backend, Tensors
from dsunet_runtime.cuda import nvml
from dsunet_runtime.errors import ArtifactError, BackendError
from dsunet_runtime.extras import install_command
from dsunet_runtime.files import is_unicode, map_file, resolved
from dsunet_runtime.manifest import FLOAT8, Manifest
from dsunet_runtime.message_text import reason, shorten
from dsunet_runtime.provider import Provider, forbid_tf32

# Names of ONNX Runtime's exceptions for files that are damaged or not a model.
_BROKEN_MODEL = ("InvalidGraph", "InvalidProtobuf", "NoModel", "NoSuchFile")
_FATAL_ONLY = 4
_NAMES = 4
"""Maximum number of tensor names in a message."""
# An ONNX file: y = Identity(x), one float32, opset 13.
_SMALLEST_MODEL = (
    b'\x08\x08:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01g'
    b"Z\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01"
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)


class OnnxRuntimeBackend(Backend):
    """An ONNX file in an ONNX Runtime session.

    `threads` is the number of CPU threads per operation; None is one per core.

    Raises BackendError if ONNX Runtime or the execution provider is missing or does not start, and
    ArtifactError if the file is not a valid model or does not match the manifest.
    """

    def __init__(
        self, path: Path, manifest: Manifest, provider: Provider, threads: int | None = None
    ) -> None:
        runtime = import_onnxruntime()
        _check_available(runtime, provider)
        self._session = _create_session(runtime, path, manifest, provider, threads)
        _check_started(self._session, provider)
        _check_names(self._session, path, manifest)
        self._outputs = [spec.name for spec in manifest.outputs]
        if provider is not Provider.CPU:
            self.machine = (
                f"ONNX Runtime {runtime.__version__}",
                provider.official_name,
                *(nvml.gpu_names() or ()),
                nvml.driver_version() or "unknown driver",
            )

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        try:
            results = self._session.run(self._outputs, dict(inputs))
        except Exception as error:  # ONNX Runtime's exceptions have no common base class
            raise BackendError(f"ONNX Runtime failed: {reason(error)}") from error
        return dict(zip(self._outputs, results, strict=True))

    def close(self) -> None:
        self._session = None


def check_provider(provider: Provider) -> None:
    """Raise BackendError unless ONNX Runtime is installed and the execution provider starts.

    For providers on the GPU this takes seconds.
    """
    runtime = import_onnxruntime()
    _check_available(runtime, provider)
    try:
        session = _open(runtime, _SMALLEST_MODEL, provider, session_options(runtime, None))
    except Exception as error:  # ONNX Runtime's exceptions have no common base class
        raise BackendError(
            f"the provider {provider.value!r} does not start: {reason(error)}"
        ) from error
    _check_started(session, provider)


def import_onnxruntime() -> Any:
    """Import the package.  Raises BackendError if it is not installed."""
    # Telemetry would contact Microsoft, and write an identifier into the home folder.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendError(
            f"ONNX Runtime is not installed: {install_command('cpu')}, "
            f"or {install_command('gpu')} for an NVIDIA GPU"
        ) from error
    return onnxruntime


def _check_available(runtime: Any, provider: Provider) -> None:
    available = runtime.get_available_providers()
    if provider.official_name in available:
        return
    usable = [p.value for p in Provider if p.official_name in available]
    raise BackendError(
        f"the installed ONNX Runtime {runtime.__version__} has no provider {provider.value!r}, "
        f"only {', '.join(usable)}: pip uninstall onnxruntime, then {install_command('gpu')}"
    )


def session_options(runtime: Any, threads: int | None, manifest: Manifest | None = None) -> Any:
    """Return the options of every session; for `threads` see `OnnxRuntimeBackend`."""
    options = runtime.SessionOptions()
    # Errors are raised as exceptions; by default they would be printed as well.
    options.log_severity_level = _FATAL_ONLY
    if threads is not None:
        options.intra_op_num_threads = threads
    if manifest is not None and manifest.precision.element_type == FLOAT8:
        leave_float8(options)
    return options


def leave_float8(options: Any) -> None:
    """Disable the fusion of float8 matmuls into operators that support integers only."""
    options.add_session_config_entry("session.disable_quant_qdq", "1")


def give_linked_weights(options: Any, path: Path, manifest: Manifest) -> list[mmap.mmap]:
    """Let a session read external weights through links.

    ONNX Runtime rejects weights in another folder, because a graph may name any file.  Here the
    names are those in the manifest, of files next to the artifact, and their hashes are verified.
    Keep the returned mappings until the session is open.
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
    runtime: Any, path: Path, manifest: Manifest, provider: Provider, threads: int | None
) -> Any:
    if not is_unicode(path):
        raise ArtifactError(
            f"{path}: ONNX Runtime cannot open a path that is not UTF-8: rename the file or folder"
        )
    try:
        options = session_options(runtime, threads, manifest)
        kept = give_linked_weights(options, path, manifest)
        session = _open(runtime, path, provider, options, _engine_folder(path, manifest))
        del kept
        return session
    except Exception as error:  # ONNX Runtime's exceptions have no common base class
        if type(error).__name__ in _BROKEN_MODEL:
            raise ArtifactError(f"{path}: not a whole ONNX model: {reason(error)}") from error
        raise BackendError(f"{path}: ONNX Runtime cannot load it: {reason(error)}") from error


def _open(
    runtime: Any,
    model: Path | bytes,
    provider: Provider,
    options: Any,
    engines: Path | None = None,
) -> Any:
    """Open a session on a file or its bytes."""
    if provider is Provider.TENSORRT:
        forbid_tf32()
    if provider is not Provider.CPU:
        _preload_cuda(runtime)
    # Without the fallback of ONNX Runtime, which prints and continues with another provider.
    chain = provider.chain(engines)
    return runtime.InferenceSession(model, options, providers=chain, enable_fallback=0)


def _engine_folder(path: Path, manifest: Manifest) -> Path | None:
    """Return the folder in which the provider `tensorrt` caches engines; None if not writable.

    The provider identifies engines by file and node names, not by weights; so the name of the
    folder contains the hash of the graph.
    """
    folder = path.with_name(f"{path.name}.{manifest.graph.sha256[:16]}.tensorrt")
    return folder if os.access(path.parent, os.W_OK) else None


def _preload_cuda(runtime: Any) -> None:
    """Load the CUDA libraries of NVIDIA's wheels, without the hints that this prints to stdout."""
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
                f"{path}: the graph's {kind} are {shorten(in_graph, _NAMES)} and the manifest's "
                f"{shorten(in_manifest, _NAMES)}: export again"
            )
