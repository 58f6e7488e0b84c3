"""Line plots as SVG, without a plotting library."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Self

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""The palette of Okabe and Ito, distinguishable with colour blindness."""
_SIDE = 240  # length of both axes, in pixels as all that follows
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 14, 20, 36
_WIDTH, _HEIGHT = _LEFT + _SIDE + _RIGHT, _TOP + _SIDE + _BOTTOM  # of a plot with its labels
_LINE = 18  # height of a line of a legend


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
        return cls.between(0, largest, label)

    @classmethod
    def between(cls, low: float, high: float, label: str) -> Self:
        """Create an axis that spans `low` to `high` > `low`, in about five round steps."""
        span = high - low
        unit = 10.0 ** math.floor(math.log10(span / 4))
        step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor * 5 >= span)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        return cls(label, [step * n for n in range(first, last + 1)])

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


@dataclass(frozen=True, slots=True)
class Plot:
    """Lines of points in one pair of axes."""

    title: str
    across: Axis
    lines: Mapping[str, Sequence[tuple[float, float]]]
    """The points of each line by its label, which is also its tooltip."""
    up: Axis | None = None
    """By default from 0 to the largest value."""
    dots: bool = True
    """Whether every point is marked."""
    unconnected: Collection[str] = ()
    """Labels of the lines of which only the points are drawn."""

    def draw(self, left: float = 0) -> str:
        """Draw the plot without a legend.  `left` is its position inside a larger drawing."""
        up = self.up or Axis.to(max(y for line in self.lines.values() for _, y in line), "")
        drawn = []
        for index, (label, points) in enumerate(self.lines.items()):
            positions = [(_x(self.across, x), _y(up, y)) for x, y in points]
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in positions)
            if label not in self.unconnected:
                drawn.append(
                    f'<polyline fill="none" stroke="{_colour(index)}" stroke-width="1.5" '
                    f'points="{path}"><title>{escape(label)}</title></polyline>'
                )
            drawn += [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{_colour(index)}"/>'
                for x, y in positions
                if self.dots
            ]
        middle = _LEFT + _SIDE / 2
        return "\n".join(
            [
                f'<svg x="{left:g}" width="{_WIDTH}" height="{_HEIGHT}" '
                f'viewBox="0 0 {_WIDTH} {_HEIGHT}" xmlns="http://www.w3.org/2000/svg" '
                'font-family="sans-serif" font-size="11">',
                *_grid(self.across, up),
                _text(middle, 13, self.title, "middle"),
                _text(middle, _HEIGHT - 4, self.across.label, "middle"),
                f'<g transform="translate(11 {_TOP + _SIDE / 2}) rotate(-90)">'
                f"{_text(0, 0, up.label, 'middle')}</g>",
                *drawn,
                "</svg>",
            ]
        )


def side_by_side(plots: Sequence[Plot]) -> str:
    """Draw plots as an SVG file, with legends below.  Plots of the same lines have one legend."""
    parts = []
    for index, plot in enumerate(plots):
        left = _WIDTH * index
        parts.append(plot.draw(left))
        if index == 0 or [*plot.lines] != [*plots[0].lines]:
            parts += _legend(plot.lines, left)
    width = _WIDTH * len(plots)
    height = _HEIGHT + _LINE * max(len(plot.lines) for plot in plots) + 8
    return "\n".join(
        [
            f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            'xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="11">',
            f'<rect width="{width}" height="{height}" fill="white"/>',
            *parts,
            "</svg>\n",
        ]
    )


def _legend(labels: Iterable[str], left: float) -> list[str]:
    return [
        f'<rect x="{left + 16:g}" y="{y - 6}" width="16" height="4" fill="{_colour(index)}"/>'
        + _text(left + 38, y, label, "start")
        for index, label in enumerate(labels)
        for y in [_HEIGHT + _LINE * index + 12]
    ]


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _grid(across: Axis, up: Axis) -> list[str]:
    right, bottom = _LEFT + _SIDE, _TOP + _SIDE
    lines = []
    for tick in across.ticks:
        x = _x(across, tick)
        lines.append(f'<path d="M{x:.1f} {bottom}V{_TOP}" stroke="#ddd"/>')
        lines.append(_text(x, bottom + 14, f"{tick:g}", "middle"))
    for tick in up.ticks:
        y = _y(up, tick)
        lines.append(f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="#ddd"/>')
        lines.append(_text(_LEFT - 5, y + 4, f"{tick:g}", "end"))
    return lines


def _x(axis: Axis, value: float) -> float:
    return _LEFT + axis.fraction(value) * _SIDE


def _y(axis: Axis, value: float) -> float:
    return _TOP + (1 - axis.fraction(value)) * _SIDE


def _colour(index: int) -> str:
    return _COLOURS[index % len(_COLOURS)]
