from __future__ import annotations

import pytest

from dsunet_runtime.svg import Axis, Plot


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 0.001, [0, 0.0002, 0.0004, 0.0006, 0.0008, 0.001]),
        (-0.003, 0.03, [-0.01, 0, 0.01, 0.02, 0.03]),
        (95, 105, [94, 96, 98, 100, 102, 104, 106]),
    ],
)
def test_axis_between(low: float, high: float, ticks: list[float]) -> None:
    assert Axis.between(low, high, "x").ticks == pytest.approx(ticks)


def test_unconnected_points() -> None:
    lines = {"joined": [(0.0, 0.0), (1.0, 1.0)], "loose": [(0.0, 1.0), (1.0, 0.0)]}
    axis = Axis.unit("")
    plain = Plot("", axis, lines, axis).draw()
    drawn = Plot("", axis, lines, axis, unconnected=["loose"]).draw()
    assert plain.count("<circle") == drawn.count("<circle") == 4
    assert "<title>loose</title>" in plain
    assert "<title>loose</title>" not in drawn
    assert "<title>joined</title>" in drawn
