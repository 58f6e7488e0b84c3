"""The backend of each provider."""

from __future__ import annotations

from pathlib import Path

from dsunet_runtime.backends import Backend, onnxruntime, openvino
from dsunet_runtime.errors import BackendError
from dsunet_runtime.manifest import Manifest
from dsunet_runtime.provider import MAX_THREADS, Provider


def open_backend(
    path: Path,
    manifest: Manifest,
    provider: Provider,
    threads: int | None,
    allow_cpu_fallback: bool,
) -> Backend:
    """Open an ONNX file with a provider; see `dsunet_runtime.load` for arguments and errors."""
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise BackendError(f"threads is {threads}: use 1 to {MAX_THREADS:,}, or None for all cores")
    if allow_cpu_fallback and not provider.on_gpu:
        raise BackendError(
            f"allow_cpu_fallback is for providers on a GPU, and {provider.value!r} is none: omit it"
        )
    if provider is Provider.OPENVINO:
        return openvino.OpenVinoBackend(path, manifest, threads)
    return onnxruntime.OnnxRuntimeBackend(path, manifest, provider, threads, allow_cpu_fallback)


def installed_providers() -> list[Provider]:
    """Return the providers whose libraries are installed, which need not start."""
    found = onnxruntime.installed_providers()
    return [*found, Provider.OPENVINO] if openvino.is_installed() else found


def check_provider(provider: Provider) -> None:
    """Raise BackendError unless the provider's library is installed and it starts.

    For providers on the GPU this takes seconds.
    """
    if provider is Provider.OPENVINO:
        openvino.check_starts()
    else:
        onnxruntime.check_provider(provider)
