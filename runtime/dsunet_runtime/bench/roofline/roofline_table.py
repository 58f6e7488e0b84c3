"""Rooflines as tables, JSON and CSV."""

from __future__ import annotations

import dataclasses
from typing import Any

from dsunet_runtime.bench.roofline.summary import Cost, Roofline

_COLUMNS = ("ms", "time", "G MAC", "G MAC/s", "GB", "GB/s", "attained")


def format_roofline(roofline: Roofline) -> list[str]:
    """Format a table with one line per branch, the ceiling and notes."""
    title = f"roofline of {roofline.label}, batch {roofline.batch}"
    names = [str(branch) for branch in roofline.costs]
    width = max(map(len, [title, *names])) + 2
    rows = [*roofline.costs.items(), ("all", roofline.total)]
    ceiling, layers = roofline.ceiling, roofline.total.seconds
    return [
        f"{title:{width}}" + "".join(f"{name:>9}" for name in _COLUMNS),
        *(f"{name:{width}}{_cells(roofline, cost)}" for name, cost in rows),
        f"attained: fraction of the roofline, which is {ceiling.macs_per_second / 1e9:.1f} G MAC/s "
        f"({ceiling.matmul}) or {ceiling.bytes_per_second / 1e9:.1f} GB/s ({ceiling.copy}), "
        "whichever takes longer; caches allow more than 100 %",
        f"sum of the layers {1e3 * layers:.2f} ms, a run without profiler "
        f"{1e3 * roofline.unprofiled:.2f} ms ({layers / roofline.unprofiled - 1:+.1%})",
        *roofline.notes,
    ]


def roofline_document(roofline: Roofline) -> dict[str, Any]:
    """Return plain values for JSON, in seconds, bytes and multiply-adds."""
    return {
        "artifact": roofline.label,
        "batch": roofline.batch,
        "branches": {str(name): _figures(roofline, cost) for name, cost in roofline.costs.items()},
        "all": _figures(roofline, roofline.total),
        "ceiling": dataclasses.asdict(roofline.ceiling),
        "unprofiled_seconds": roofline.unprofiled,
        "notes": list(roofline.notes),
    }


def roofline_rows(roofline: Roofline) -> list[dict[str, Any]]:
    """Return one CSV row per branch."""
    key = {"artifact": roofline.label, "batch": roofline.batch}
    return [
        {**key, "branch": str(branch), **_figures(roofline, cost)}
        for branch, cost in roofline.costs.items()
    ]


def _cells(roofline: Roofline, cost: Cost) -> str:
    figures = _figures(roofline, cost)
    seconds = cost.seconds or float("inf")
    return (
        f"{1e3 * cost.seconds:9.2f}{figures['fraction']:9.1%}"
        f"{cost.macs / 1e9:9.3f}{cost.macs / 1e9 / seconds:9.1f}"
        f"{cost.bytes / 1e9:9.3f}{cost.bytes / 1e9 / seconds:9.1f}{figures['attained']:9.1%}"
    )


def _figures(roofline: Roofline, cost: Cost) -> dict[str, Any]:
    return {
        **dataclasses.asdict(cost),
        "fraction": cost.seconds / roofline.total.seconds,
        "attained": roofline.attained(cost),
    }
