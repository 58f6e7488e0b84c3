"""Roofline plots: multiply-adds per second over arithmetic intensity."""

from __future__ import annotations

from collections.abc import Sequence

from dsunet_runtime.bench.roofline.summary import Roofline
from dsunet_runtime.svg import Axis, Plot, side_by_side

_Lines = dict[str, list[tuple[float, float]]]


def draw_roofline_plot(rooflines: Sequence[Roofline]) -> str:
    """Draw one plot per roofline, side by side.

    The axes are multiply-adds per byte and G multiply-adds per second.  The ceiling is a line.
    Each branch with multiply-adds is a point.
    """
    drawn = [_lines(one) for one in rooflines]
    points = [point for lines in drawn for line in lines.values() for point in line]
    across = Axis.decades([x for x, _ in points], "multiply-adds per byte")
    up = Axis.decades([y for _, y in points], "G multiply-adds per second")
    return side_by_side(
        [
            Plot(f"{one.label}, batch {one.batch}", across, lines, up)
            for one, lines in zip(rooflines, drawn, strict=True)
        ]
    )


def _lines(roofline: Roofline) -> _Lines:
    branches: _Lines = {
        str(branch): [(cost.macs / cost.bytes, cost.macs / cost.seconds / 1e9)]
        for branch, cost in roofline.costs.items()
        if cost.macs and cost.bytes and cost.seconds
    }
    ceiling = roofline.ceiling
    corner = ceiling.macs_per_second / ceiling.bytes_per_second
    found = [x for line in branches.values() for x, _ in line]
    ends = sorted({min([corner, *found]), corner, max([corner, *found])})
    return {"ceiling": [(x, ceiling.rate(x) / 1e9) for x in ends], **branches}
