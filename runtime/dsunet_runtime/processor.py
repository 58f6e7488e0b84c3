"""The processor of this machine: its name, and the instructions that make networks fast."""

from __future__ import annotations

import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_FAST = ("amx_bf16", "amx_int8", "amx_fp16", "avx512_bf16", "avx512_vnni", "avx_vnni")


def name() -> str:
    """Return the processor's name."""
    return _field("model name") or platform.processor()


def fast_instructions() -> tuple[str, ...]:
    """Return which instructions for bfloat16 and 8-bit integers it has, by the kernel's names."""
    flags = _field("flags").split()
    return tuple(flag for flag in _FAST if flag in flags)


def _field(key: str) -> str:
    """Return a field of the first core in Linux's list; empty if there is none."""
    try:
        lines = _CPUINFO.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return ""
    values = [line.partition(":")[2].strip() for line in lines if line.startswith(key)]
    return values[0] if values else ""
