"""Manufactured objects: solids, vessels, vehicles, furniture."""

from __future__ import annotations

import numpy as np

from dsunet.scenes.figures.parts import Figure, Part, Role, Stance
from dsunet.scenes.outlines import Points, ellipse, limb, shifted, superellipse


def solid(rng: np.random.Generator) -> Figure:
    """A ball, box, tile, sign or ring."""
    power = float(rng.choice((0.8, 2, 2, 4, 12)))
    across, down = 1.0, rng.uniform(0.45, 1.0)
    parts = [Part([superellipse(across, down, power)])]
    choice = rng.random()
    if choice < 0.25:
        inner = rng.uniform(0.4, 0.7)
        parts.append(Part([superellipse(across * inner, down * inner, power)], hole=True))
    elif choice < 0.6:
        parts.append(Part([superellipse(across, down * 0.25, 8)], Role.SECOND, detail=True))
    return Figure(parts, Stance.FREE)


def vessel(rng: np.random.Generator) -> Figure:
    """A bottle, vase, cup or lamp; some have a handle."""
    y = np.linspace(-1, 1, 7)
    knots = rng.uniform(0.25, 0.75, 7)
    rows = np.linspace(-1, 1, 60)
    half = np.interp(rows, y, np.convolve(np.pad(knots, 1, "edge"), [0.25, 0.5, 0.25], "valid"))
    outline = np.concatenate([np.stack([half, rows], 1), np.stack([-half, rows], 1)[::-1]])
    lip = ellipse(0, -1, float(half[0]), 0.09)
    parts = [Part([outline, ellipse(0, 1, float(half[-1]), 0.09)]), Part([lip], Role.DARK)]
    if rng.random() < 0.5:
        reach = float(half[30])
        parts.insert(0, Part([ellipse(reach, 0, 0.1, 0.38)], hole=True))
        parts.insert(0, Part([ellipse(reach, 0, 0.32, 0.55)]))
    if rng.random() < 0.5:
        parts.append(Part([shifted(superellipse(1.2, 0.25, 8), 0, 0.2)], Role.SECOND, detail=True))
    return Figure(parts, Stance.UPRIGHT)


def vehicle(rng: np.random.Generator) -> Figure:
    """A car, bus or boat from the side."""
    high = rng.uniform(0.22, 0.4)
    body = superellipse(1.3, high, 5)
    left, right = rng.uniform(-1.1, -0.5), rng.uniform(0.3, 0.9)
    roof = -high - rng.uniform(0.3, 0.6)
    cabin = np.array(
        [[left, -high + 0.18], [left + 0.2, roof], [right - 0.3, roof], [right, -high + 0.18]]
    )
    middle = cabin.mean(0)
    glass = (cabin - middle) * (0.82, 0.68) + middle
    wheel = rng.uniform(0.22, 0.34)
    wheels = [ellipse(-0.75, high, wheel, wheel), ellipse(0.75, high, wheel, wheel)]
    hubs = [ellipse(-0.75, high, wheel / 2, wheel / 2), ellipse(0.75, high, wheel / 2, wheel / 2)]
    return Figure(
        [
            Part([body, cabin]),
            Part([glass], Role.DARK, detail=True),
            Part(wheels, Role.DARK),
            Part(hubs, Role.SECOND, detail=True),
        ],
        Stance.UPRIGHT,
    )


def chair(rng: np.random.Generator) -> Figure:
    """A seat or table top on legs, with or without a back of bars."""
    wide, deep, thin = rng.uniform(0.6, 1.1), rng.uniform(0.1, 0.25), rng.uniform(0.04, 0.09)
    feet = [(-0.9, 1.1), (0.85, 1.1), (-0.6, 0.95), (0.65, 0.9)]
    bars: list[Points] = []
    for x, y in feet:
        bars += limb([(x * wide * 0.95, 0.0), (x * wide, y)], [thin, thin * 0.8])
    if rng.random() < 0.7:
        high = -rng.uniform(0.8, 1.3)
        for x in np.linspace(-0.85, 0.85, int(rng.integers(2, 6))):
            bars += limb([(float(x) * wide, 0.0), (float(x) * wide, high)], [thin, thin])
        bars += limb([(-0.9 * wide, high), (0.9 * wide, high)], [thin * 1.5, thin * 1.5])
    return Figure([Part(bars), Part([superellipse(wide, deep, 6)], Role.SECOND)], Stance.UPRIGHT)
