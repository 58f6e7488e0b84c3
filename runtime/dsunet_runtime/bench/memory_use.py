"""Memory use: host memory of this process, GPU memory of all processes."""

from __future__ import annotations

from pathlib import Path

from dsunet_runtime.cuda import Gpu, nvml


def resident() -> int | None:
    """Resident memory of this process in bytes; None except on Linux."""
    return _status("VmRSS")


def peak_resident() -> int | None:
    """Peak resident memory of this process in bytes; None except on Linux."""
    return _status("VmHWM")


def device_used(gpu: Gpu | None) -> int | None:
    """GPU memory in use by all processes, in bytes; None without a GPU or without NVML."""
    free = None if gpu is None else nvml.free_memory(gpu)
    return None if gpu is None or free is None else gpu.memory - free


def _status(name: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return 1024 * int(found[0]) if found else None
