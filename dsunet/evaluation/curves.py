"""Curves as SVG, drawn without a plotting library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's, which the colour-blind tell apart."""

Points = tuple[NDArray[np.float64], NDArray[np.float64]]

_SIDE, _LEFT, _BOTTOM, _TOP = 240, 42, 36, 20


def plot(title: str, across: str, up: str, lines: Mapping[str, Points]) -> str:
    """An SVG picture of lines in the unit square; their colours are COLOURS, in order."""
    drawn = [
        f'<polyline fill="none" stroke="{colour_of(index)}" stroke-width="1.5" points="'
        + " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in zip(*points, strict=True))
        + f'"><title>{escape(label)}</title></polyline>'
        for index, (label, points) in enumerate(lines.items())
    ]
    width, height = _LEFT + _SIDE + 14, _TOP + _SIDE + _BOTTOM
    middle = _LEFT + _SIDE / 2
    return "\n".join(
        [
            f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            'xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="11">',
            *_grid(),
            _text(middle, 13, title, "middle"),
            _text(middle, height - 4, across, "middle"),
            f'<g transform="translate(11 {_TOP + _SIDE / 2}) rotate(-90)">'
            f"{_text(0, 0, up, 'middle')}</g>",
            *drawn,
            "</svg>",
        ]
    )


def thresholds() -> NDArray[np.float64]:
    """Of py_sod_metrics' curves, in [0, 1]: from 255 down to 0."""
    return np.linspace(1, 0, 256)


def colour_of(index: int) -> str:
    """Of the line with this index."""
    return COLOURS[index % len(COLOURS)]


def _grid() -> Sequence[str]:
    lines = []
    for tick in (0, 0.2, 0.4, 0.6, 0.8, 1):
        x, y = _x(tick), _y(tick)
        lines.append(f'<path d="M{x:.1f} {_y(0)}V{_y(1)}M{_x(0)} {y:.1f}H{_x(1)}" stroke="#ddd"/>')
        lines.append(_text(x, _TOP + _SIDE + 14, f"{tick:g}", "middle"))
        lines.append(_text(_LEFT - 5, y + 4, f"{tick:g}", "end"))
    return lines


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _x(value: float) -> float:
    return _LEFT + value * _SIDE


def _y(value: float) -> float:
    return _TOP + (1 - value) * _SIDE
