"""Line plots as SVG, without a plotting library."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Self

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""The palette of Okabe and Ito, distinguishable with colour blindness."""

Points = Iterable[tuple[float, float]]

SIDE = 240
"""Length of both axes in pixels."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 14, 20, 36
WIDTH, HEIGHT = _LEFT + SIDE + _RIGHT, _TOP + SIDE + _BOTTOM
"""Size of a plot with its labels, in pixels."""
LINE = 18
"""Line height of a legend in pixels."""


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis with its label and ticks."""

    label: str
    ticks: Sequence[float]
    """At least two ascending values; the axis spans from the first to the last."""
    logarithmic: bool = False

    @classmethod
    def unit(cls, label: str) -> Self:
        """Create an axis from 0 to 1."""
        return cls(label, (0, 0.2, 0.4, 0.6, 0.8, 1))

    @classmethod
    def to(cls, largest: float, label: str) -> Self:
        """Create an axis from 0 to at least `largest` > 0, in about five round steps."""
        unit = 10.0 ** math.floor(math.log10(largest / 4))
        step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor * 5 >= largest)
        return cls(label, [step * n for n in range(math.ceil(largest / step - 1e-9) + 1)])

    @classmethod
    def decades(cls, values: Iterable[float], label: str) -> Self:
        """Create a logarithmic axis that spans positive values in whole decades."""
        powers = [math.log10(value) for value in values]
        low = math.floor(min(powers))
        high = max(low + 1, math.ceil(max(powers)))
        return cls(label, [10.0**power for power in range(low, high + 1)], logarithmic=True)

    def fraction(self, value: float) -> float:
        """Return the position of a value on the axis, from 0 to 1."""
        low, high = self.ticks[0], self.ticks[-1]
        if self.logarithmic:
            return math.log(value / low) / math.log(high / low)
        return (value - low) / (high - low)


def plot(
    title: str,
    across: Axis,
    up: Axis,
    lines: Mapping[str, Points],
    *,
    left: float = 0,
    dots: bool = False,
) -> str:
    """Draw lines in the colours of `colour_of`, with their labels as tooltips.

    `left` is the position inside a larger drawing; `dots` marks every point.
    """
    drawn = []
    for index, (label, points) in enumerate(lines.items()):
        places = [(_x(across, x), _y(up, y)) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn.append(
            f'<polyline fill="none" stroke="{colour_of(index)}" stroke-width="1.5" '
            f'points="{path}"><title>{escape(label)}</title></polyline>'
        )
        drawn += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour_of(index)}"/>'
            for x, y in places
            if dots
        ]
    middle = _LEFT + SIDE / 2
    return "\n".join(
        [
            f'<svg x="{left:g}" width="{WIDTH}" height="{HEIGHT}" '
            f'viewBox="0 0 {WIDTH} {HEIGHT}" xmlns="http://www.w3.org/2000/svg" '
            'font-family="sans-serif" font-size="11">',
            *_grid(across, up),
            text(middle, 13, title, "middle"),
            text(middle, HEIGHT - 4, across.label, "middle"),
            f'<g transform="translate(11 {_TOP + SIDE / 2}) rotate(-90)">'
            f"{text(0, 0, up.label, 'middle')}</g>",
            *drawn,
            "</svg>",
        ]
    )


def page(width: float, height: float, parts: Iterable[str]) -> str:
    """Combine parts of a drawing to an SVG file with white background."""
    return "\n".join(
        [
            f'<svg width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}" '
            'xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="11">',
            f'<rect width="{width:g}" height="{height:g}" fill="white"/>',
            *parts,
            "</svg>\n",
        ]
    )


def key(labels: Iterable[str], *, left: float = 0) -> list[str]:
    """Draw the legend of a plot, one line per label, below it."""
    return [
        f'<rect x="{left + 16:g}" y="{y - 6}" width="16" height="4" fill="{colour_of(index)}"/>'
        + text(left + 38, y, label, "start")
        for index, label in enumerate(labels)
        for y in [HEIGHT + LINE * index + 12]
    ]


def text(x: float, y: float, words: str, anchor: str) -> str:
    """Draw text; `anchor` is `start`, `middle` or `end`."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def colour_of(index: int) -> str:
    """Return the colour of the line with this index."""
    return COLOURS[index % len(COLOURS)]


def _grid(across: Axis, up: Axis) -> list[str]:
    right, bottom = _LEFT + SIDE, _TOP + SIDE
    lines = []
    for tick in across.ticks:
        x = _x(across, tick)
        lines.append(f'<path d="M{x:.1f} {bottom}V{_TOP}" stroke="#ddd"/>')
        lines.append(text(x, bottom + 14, f"{tick:g}", "middle"))
    for tick in up.ticks:
        y = _y(up, tick)
        lines.append(f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="#ddd"/>')
        lines.append(text(_LEFT - 5, y + 4, f"{tick:g}", "end"))
    return lines


def _x(axis: Axis, value: float) -> float:
    return _LEFT + axis.fraction(value) * SIDE


def _y(axis: Axis, value: float) -> float:
    return _TOP + (1 - axis.fraction(value)) * SIDE
