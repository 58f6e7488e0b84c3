"""NVIDIA's plugin that brings TensorRT for RTX to ONNX Runtime.

Its package contains the library and TensorRT for RTX.  ONNX Runtime loads the library once per
process, and then lists the GPUs that it supports.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import threading
from pathlib import Path
from typing import Any

from dsunet_runtime.errors import BackendError
from dsunet_runtime.extras import install_command
from dsunet_runtime.message_text import reason

NAME = "NvTensorRTRTXExecutionProvider"
_PACKAGE = "onnxruntime_ep_nv_tensorrt_rtx"
_FIRST_WITH_PLUGINS = "1.24"
_BEFORE_CAUSE = "with error: "
"""In ONNX Runtime's message, after the path of the plugin."""
_lock = threading.Lock()


def is_installed() -> bool:
    """Whether the plugin's package is installed; it is not loaded."""
    return importlib.util.find_spec(_PACKAGE) is not None


def check_installed(runtime: Any) -> None:
    """Raise BackendError unless the plugin is installed and ONNX Runtime can load plugins."""
    if not is_installed():
        raise BackendError(
            f"the provider 'rtx' is a plugin that is not installed: "
            f"{install_command('rtx-provider')}"
        )
    if not hasattr(runtime, "register_execution_provider_library"):
        raise BackendError(
            f"the provider 'rtx' needs ONNX Runtime {_FIRST_WITH_PLUGINS} or later, and "
            f"{runtime.__version__} is installed: pip install --upgrade onnxruntime, "
            f"or onnxruntime-gpu if that is what is installed"
        )


def select_plugin(runtime: Any, options: Any, cache: Path | None) -> None:
    """Add the plugin on the first GPU that it supports to session options.

    `cache` is the folder in which it keeps compiled kernels; None disables that.  Raises
    BackendError if there is no such GPU.
    """
    devices = _devices(runtime)[:1]
    settings = {}
    if cache is not None:
        with contextlib.suppress(OSError):
            cache.mkdir(mode=0o700, exist_ok=True)
            settings["nv_runtime_cache_path"] = str(cache)
    options.add_provider_for_devices(devices, settings)


def plugin_version() -> str:
    """Return the version of the plugin, which must be installed."""
    return str(importlib.import_module(_PACKAGE).__version__)


def _devices(runtime: Any) -> list[Any]:
    """Register the plugin, unless that is already done, and return its devices."""
    with _lock:
        found = _registered(runtime)
        if not found:
            _register(runtime)
            found = _registered(runtime)
    if not found:
        raise BackendError(
            "the provider 'rtx' finds no GPU that it supports: it needs an NVIDIA GPU of compute "
            "capability 8.6, 8.9, or 12.0 and later"
        )
    return found


def _registered(runtime: Any) -> list[Any]:
    return [device for device in runtime.get_ep_devices() if device.ep_name == NAME]


def _register(runtime: Any) -> None:
    try:
        plugin = importlib.import_module(_PACKAGE)
        runtime.register_execution_provider_library(NAME, plugin.get_library_path())
    except Exception as error:  # ONNX Runtime's exceptions have no common base class
        if "already registered" in str(error):
            return
        raise BackendError(
            f"the provider 'rtx' does not start: it needs an NVIDIA GPU with its driver "
            f"({reason(error).rpartition(_BEFORE_CAUSE)[2]})"
        ) from error
