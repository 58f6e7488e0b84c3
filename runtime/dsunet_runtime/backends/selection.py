"""Selection of the backend by provider."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.artifact.manifest import Manifest
from dsunet_runtime.backends import openvino
from dsunet_runtime.backends.interface import Backend
from dsunet_runtime.backends.onnxruntime import backend as onnxruntime
from dsunet_runtime.errors import BackendError
from dsunet_runtime.provider import MAX_THREADS, Provider


@dataclass(frozen=True, slots=True)
class OnnxOptions:
    """Arguments of `dsunet_runtime.load` for ONNX files."""

    provider: Provider
    threads: int | None = None
    allow_cpu_fallback: bool = False
    mapped_weights: bool = False


def open_backend(path: Path, manifest: Manifest, options: OnnxOptions) -> Backend:
    """Open an ONNX file with a provider; see `dsunet_runtime.load` for options and errors."""
    provider, threads = options.provider, options.threads
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise BackendError(f"threads is {threads}: use 1 to {MAX_THREADS:,}, or None for all cores")
    if options.allow_cpu_fallback and not provider.on_gpu:
        raise BackendError(
            f"allow_cpu_fallback is for providers on a GPU, and {provider.value!r} is none: omit it"
        )
    if options.mapped_weights and provider is not Provider.CPU:
        raise BackendError(
            f"mapped_weights is for the provider 'cpu', and this is {provider.value!r}: omit it"
        )
    if options.mapped_weights and manifest.precision.compute != Compute.FP32.element_type:
        raise BackendError(
            f"{path}: mapped_weights has no effect on {manifest.precision.compute} weights, which "
            f"ONNX Runtime converts to float32 on a CPU: omit it, or export with --precision fp32 "
            f"or int8"
        )
    if options.mapped_weights and not manifest.files:
        raise BackendError(
            f"{path}: mapped_weights is for artifacts with their weights in a second file: export "
            f"it with `dsunet-export onnx --shared-weights`, or omit it"
        )
    if provider is Provider.OPENVINO:
        return openvino.OpenVinoBackend(path, manifest, threads)
    return onnxruntime.OnnxRuntimeBackend(
        path, manifest, provider, threads, options.allow_cpu_fallback, options.mapped_weights
    )


def installed_providers() -> list[Provider]:
    """Return the providers whose libraries are installed; whether they start is not checked."""
    found = onnxruntime.installed_providers()
    return [*found, Provider.OPENVINO] if openvino.is_installed() else found


def check_provider(provider: Provider) -> None:
    """Raise BackendError unless the provider's library is installed and it starts.

    For providers on the GPU this takes seconds.
    """
    if provider is Provider.OPENVINO:
        openvino.start()
    else:
        onnxruntime.check_provider(provider)
