"""How much memory is taken: by this process on the host, by anybody on a GPU."""

from __future__ import annotations

from pathlib import Path

from dsunet_runtime.cuda import Gpu, nvml


def resident() -> int | None:
    """Bytes of host memory that this process holds; None where Linux does not tell it."""
    return _status("VmRSS")


def peak_resident() -> int | None:
    """The most that this process ever held, likewise."""
    return _status("VmHWM")


def device_used(gpu: Gpu | None) -> int | None:
    """Bytes of a GPU's memory that somebody has taken; None without one, or without NVML."""
    free = None if gpu is None else nvml.free_memory(gpu)
    return None if gpu is None or free is None else gpu.memory - free


def _status(name: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return 1024 * int(found[0]) if found else None
