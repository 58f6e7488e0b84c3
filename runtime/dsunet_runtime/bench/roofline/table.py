"""Rooflines as tables for people, and as JSON and CSV for programs."""

from __future__ import annotations

import dataclasses
from typing import Any

from dsunet_runtime.bench.roofline.summary import Cost, Roofline

_COLUMNS = ("ms", "time", "G MAC", "G MAC/s", "GB", "GB/s", "attained")


def draw(roofline: Roofline) -> list[str]:
    """A table, a line for each branch, and what it is measured against."""
    title = f"roofline of {roofline.label}, batch {roofline.batch}"
    names = [str(branch) for branch in roofline.costs]
    width = max(map(len, [title, *names])) + 2
    rows = [*roofline.costs.items(), ("all", roofline.total)]
    ceiling, layers = roofline.ceiling, roofline.total.seconds
    return [
        f"{title:{width}}" + "".join(f"{name:>9}" for name in _COLUMNS),
        *(f"{name:{width}}{_cells(roofline, cost)}" for name, cost in rows),
        f"attained: of {ceiling.macs_per_second / 1e9:.1f} G MAC/s ({ceiling.product}) or "
        f"{ceiling.bytes_per_second / 1e9:.1f} GB/s ({ceiling.copy}), whichever ends later; more "
        "than 100 % is the work of caches",
        f"the layers take {1e3 * layers:.2f} ms together, and a run without a profiler "
        f"{1e3 * roofline.unprofiled:.2f} ms ({layers / roofline.unprofiled - 1:+.1%})",
        *roofline.notes,
    ]


def as_document(roofline: Roofline) -> dict[str, Any]:
    """For JSON; seconds, bytes, and multiply-adds one by one."""
    return {
        "artifact": roofline.label,
        "batch": roofline.batch,
        "branches": {str(name): _figures(roofline, cost) for name, cost in roofline.costs.items()},
        "all": _figures(roofline, roofline.total),
        "ceiling": dataclasses.asdict(roofline.ceiling),
        "unprofiled_seconds": roofline.unprofiled,
        "notes": list(roofline.notes),
    }


def as_rows(roofline: Roofline) -> list[dict[str, Any]]:
    """For CSV: a row for each branch."""
    place = {"artifact": roofline.label, "batch": roofline.batch}
    return [
        {**place, "branch": str(branch), **_figures(roofline, cost)}
        for branch, cost in roofline.costs.items()
    ]


def _cells(roofline: Roofline, cost: Cost) -> str:
    found = _figures(roofline, cost)
    seconds = cost.seconds or float("inf")
    return (
        f"{1e3 * cost.seconds:9.2f}{found['share']:9.1%}"
        f"{cost.macs / 1e9:9.3f}{cost.macs / 1e9 / seconds:9.1f}"
        f"{cost.bytes / 1e9:9.3f}{cost.bytes / 1e9 / seconds:9.1f}{found['attained']:9.1%}"
    )


def _figures(roofline: Roofline, cost: Cost) -> dict[str, Any]:
    return {
        **dataclasses.asdict(cost),
        "share": cost.seconds / roofline.total.seconds,
        "attained": roofline.attained(cost),
    }
