"""ONNX Runtime's execution providers: their names and options, and how a session selects one."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import Any

from dsunet_runtime.backends.onnxruntime import rtx_plugin
from dsunet_runtime.errors import BackendError
from dsunet_runtime.extras import install_command
from dsunet_runtime.provider import Provider

CPU = "CPUExecutionProvider"
_NAMES = {
    Provider.CPU: CPU,
    Provider.CUDA: "CUDAExecutionProvider",
    Provider.TENSORRT: "TensorrtExecutionProvider",
    Provider.RTX: rtx_plugin.NAME,
}
# The graph defines the precision: float32 is not computed in TF32, whose mantissa of 10 bits is too
# short for exact resampling of frames.
_CUDA = (_NAMES[Provider.CUDA], {"use_tf32": "0"})


def official_name(provider: Provider) -> str:
    """Return ONNX Runtime's name of a provider."""
    return _NAMES[provider]


def versioned_name(provider: Provider) -> str:
    """Return ONNX Runtime's name of a provider, and the version of a plugin."""
    name = official_name(provider)
    return f"{name} {rtx_plugin.plugin_version()}" if provider is Provider.RTX else name


def available_providers(runtime: Any) -> list[Provider]:
    """Return the providers of the installed ONNX Runtime, and its plugin if that is installed."""
    return _built_in(runtime) + ([Provider.RTX] if rtx_plugin.is_installed() else [])


def check_available(runtime: Any, provider: Provider) -> None:
    """Raise BackendError unless the installed ONNX Runtime has the provider."""
    if provider is Provider.RTX:
        rtx_plugin.check_installed(runtime)
        return
    found = _built_in(runtime)
    if provider not in found:
        raise BackendError(
            f"the installed ONNX Runtime {runtime.__version__} has no provider {provider.value!r}, "
            f"only {', '.join(found)}: pip uninstall onnxruntime, then {install_command('gpu')}"
        )


def _built_in(runtime: Any) -> list[Provider]:
    names = runtime.get_available_providers()
    return [provider for provider, name in _NAMES.items() if name in names]


def select_provider(
    runtime: Any, provider: Provider, options: Any, cache: Path | None = None
) -> dict[str, Any]:
    """Add a provider to session options, and prepare the process for it.

    `cache` is the folder for what the provider compiles; None disables caching.  Returns further
    arguments of InferenceSession.  Raises BackendError if a plugin does not start.
    """
    if provider in (Provider.TENSORRT, Provider.RTX):
        _forbid_tf32()
    if provider is Provider.RTX:
        rtx_plugin.select_plugin(runtime, options, cache)
        return {}
    if provider is not Provider.CPU:
        _preload_cuda(runtime)
    return {"providers": chain(provider, cache)}


def chain(provider: Provider, cache: Path | None = None) -> list[tuple[str, dict[str, str]]]:
    """Return built-in providers with their options, in order of priority."""
    match provider:
        case Provider.CUDA:
            first = [_CUDA]
        case Provider.TENSORRT:
            first = [(_NAMES[provider], _tensorrt_cache(cache)), _CUDA]
        case _:
            first = []
    return [*first, (CPU, {})]


def check_started(session: Any, provider: Provider) -> None:
    """Raise BackendError if a session has left out the provider that was requested."""
    if official_name(provider) not in session.get_providers():
        raise BackendError(
            f"the provider {provider.value!r} did not start: it needs an NVIDIA GPU with its driver"
            f"{_LIBRARIES.get(provider, '')}"
        )


_LIBRARIES = {
    provider: f" and the CUDA and cuDNN{also} libraries that fit the installed onnxruntime-gpu; "
    f"pip install 'onnxruntime-gpu[cuda,cudnn]' brings CUDA's"
    for provider, also in ((Provider.CUDA, ""), (Provider.TENSORRT, " and TensorRT"))
}
"""Requirements of built-in providers besides a driver."""


def _forbid_tf32() -> None:
    """Disable TF32 for the process, unless the environment variable is already set.

    The providers `tensorrt` and `rtx` have no option for it.  NVIDIA's libraries read the variable
    once, so it must be set before the first session.
    """
    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")


def _preload_cuda(runtime: Any) -> None:
    """Load the CUDA libraries of NVIDIA's wheels, without the hints that this prints to stdout."""
    with contextlib.redirect_stdout(io.StringIO()):
        runtime.preload_dlls()


def _tensorrt_cache(folder: Path | None) -> dict[str, str]:
    """Options of the provider `tensorrt`.

    It builds engines for the range of shapes seen so far, and rebuilds them for shapes outside it.
    """
    if folder is None:
        return {}
    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
    }
