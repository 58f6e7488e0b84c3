"""The CPU of this machine: its name, and its instructions for bfloat16 and 8-bit integers."""

from __future__ import annotations

import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_FAST = ("amx_bf16", "amx_int8", "amx_fp16", "avx512_bf16", "avx512_vnni", "avx_vnni")


def name() -> str:
    """Return the name of the CPU; empty if it is unknown."""
    return _field("model name") or platform.processor()


def fast_instructions() -> tuple[str, ...]:
    """Return its instructions for bfloat16 and 8-bit integers, by their names in Linux."""
    flags = _field("flags").split()
    return tuple(flag for flag in _FAST if flag in flags)


def _field(key: str) -> str:
    """Return a field of the first core in /proc/cpuinfo; empty if there is none."""
    try:
        lines = _CPUINFO.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return ""
    values = [line.partition(":")[2].strip() for line in lines if line.startswith(key)]
    return values[0] if values else ""
