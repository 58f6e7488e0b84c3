"""Check of the available memory before large allocations.

Linux overcommits memory and kills a process that uses too much of it.  Therefore allocations that
exceed the available memory are rejected beforehand, with the sizes in the message.
"""

from __future__ import annotations

from pathlib import Path

from dsunet_runtime.errors import BackendError

_MEMINFO = Path("/proc/meminfo")
_CONTROL_GROUP = Path("/sys/fs/cgroup")


def check_memory(size: int, what: str, remedy: str) -> None:
    """Raise BackendError if `size` bytes, which `what` needs, are not available."""
    available = available_memory()
    if available is not None and size > available:
        raise BackendError(
            f"{what} takes {gigabytes(size)} and only {gigabytes(available)} of memory are "
            f"available: {remedy}"
        )


def gigabytes(size: int) -> str:
    """Format bytes as gigabytes."""
    return f"{size / 1e9:,.1f} GB"


def available_memory() -> int | None:
    """Return the bytes that can be allocated without swapping, within a container's limit.

    None if it is unknown.
    """
    limits = [value for value in (_of_machine(), _of_control_group()) if value is not None]
    return min(limits, default=None)


def _of_machine() -> int | None:
    try:
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return 1024 * int(found[0]) if found else None


def _of_control_group() -> int | None:
    """Memory left by the limit of a container; its page cache counts as free."""
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
