"""How much memory is available, checked before it is allocated.

Linux grants more memory than it has, and kills the process that uses it.  So what does not fit is
refused with the figure, before anything is allocated.
"""

from __future__ import annotations

from pathlib import Path

from dsunet_runtime.errors import BackendError

_MEMINFO = Path("/proc/meminfo")
_CONTROL_GROUP = Path("/sys/fs/cgroup")


def check_memory(size: int, what: str, remedy: str) -> None:
    """Raise BackendError if `size` bytes, which `what` takes, are not available on this machine."""
    available = available_memory()
    if available is not None and size > available:
        raise BackendError(
            f"{what} takes {gigabytes(size)} and this machine has {gigabytes(available)} free: "
            f"{remedy}"
        )


def gigabytes(size: int) -> str:
    """Bytes for people."""
    return f"{size / 1e9:,.1f} GB"


def available_memory() -> int | None:
    """Bytes that can be allocated without swapping, on this machine or in this container; None
    where that is not known.
    """
    found = [value for value in (_of_machine(), _of_control_group()) if value is not None]
    return min(found, default=None)


def _of_machine() -> int | None:
    try:
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return 1024 * int(found[0]) if found else None


def _of_control_group() -> int | None:
    """What a container's limit leaves; its cached file pages are freed when memory is needed."""
    try:
        limit, used, statistics = (
            (_CONTROL_GROUP / f"memory.{name}").read_text(encoding="ascii")
            for name in ("max", "current", "stat")
        )
    except OSError:
        return None
    if not limit.strip().isdecimal():
        return None
    pages = dict(line.split() for line in statistics.splitlines())
    return max(0, int(limit) - int(used) + int(pages.get("file", 0)))
