"""Animals, from the side, from the front and from above."""

from __future__ import annotations

import numpy as np

from dsunet.scenes.figures.parts import Figure, Part, Role, Stance
from dsunet.scenes.outlines import (
    Points,
    ellipse,
    fourier,
    limb,
    mirrored,
    shifted,
    superellipse,
    turned,
)


def quadruped(rng: np.random.Generator) -> Figure:
    """A four-legged animal from the side."""
    long, thick = 1.0, rng.uniform(0.28, 0.5)
    leg, thin = rng.uniform(0.5, 1.0), rng.uniform(0.06, 0.13)
    foot = thick * 0.5 + leg

    def make_leg(x: float) -> list[Points]:
        step = rng.uniform(-0.25, 0.25)
        knee = (x + step * 0.3, thick * 0.4 + leg * 0.5)
        return limb([(x, thick * 0.2), knee, (x + step, foot)], [thin * 1.7, thin, thin * 0.9])

    far = [*make_leg(-0.7), *make_leg(0.65)]
    near = [*make_leg(-0.8), *make_leg(0.75)]
    up = rng.uniform(-0.1, 0.8)
    head = (long + rng.uniform(0.15, 0.45), -up)
    size = rng.uniform(0.22, 0.38)
    muzzle = (head[0] + size * rng.uniform(0.7, 1.4), head[1] + size * rng.uniform(0.1, 0.6))
    body = [
        ellipse(0, 0, long, thick, rng.uniform(-0.1, 0.1)),
        ellipse(-0.6, 0, thick * 1.1, thick * 1.1),
        *limb([(0.75, -0.1), head], [thick * 0.75, size * 0.8]),
    ]
    ear = np.array([[-0.5, -0.4], [-0.3, -1.6], [0.3, -0.7]]) * size
    face = [
        ellipse(*head, size, size * 0.9),
        *limb([head, muzzle], [size * 0.8, size * 0.45]),
        ear + head,
        ear * (0.9, 1.1) + head + (size * 0.45, 0.05),
    ]
    bend = rng.uniform(-0.8, 0.6)
    tail = limb(
        [(-0.9, -0.1), (-1.3, bend * 0.6), (-1.6, bend)],
        [thin * 1.3, thin, thin * rng.uniform(0.5, 1.6)],
    )
    parts = [
        Part(far),
        Part(tail),
        Part(body),
        Part(near),
        Part(face, Role.MAIN if rng.random() < 0.6 else Role.SECOND),
        Part(
            [ellipse(head[0] + size * 0.3, head[1] - size * 0.15, 0.045, 0.045)],
            Role.DARK,
            detail=True,
        ),
    ]
    if rng.random() < 0.3:
        parts.insert(3, Part([fourier(rng, 0.25) * (0.5, 0.3)], Role.SECOND, detail=True))
    return Figure(parts, Stance.UPRIGHT)


def portrait(rng: np.random.Generator) -> Figure:
    """An animal's head from the front, with or without its shoulders."""
    wide = rng.uniform(0.8, 1.1)
    pointed = rng.random() < 0.7
    ear = np.array([[-0.95, -0.3], [-0.9, -1.45], [-0.15, -0.8]]) * (wide, rng.uniform(0.8, 1.2))
    if not pointed:
        at = rng.uniform(-0.9, 0.2)
        ear = ellipse(-0.85 * wide, at, 0.3, 0.6 if at > -0.5 else 0.35, 0.3)
    inner = shifted(ear * 0.62, -0.22, -0.3)
    head = fourier(rng, 0.04) * (wide, rng.uniform(0.8, 1.0))
    shoulders = shifted(superellipse(1.4, 1.6, 2.5), rng.uniform(-0.4, 0.4), 1.9)
    eye = ellipse(-0.38 * wide, -0.1, rng.uniform(0.1, 0.17), rng.uniform(0.08, 0.16))
    muzzle = ellipse(0, 0.4, 0.42, 0.34)
    nose = ellipse(0, 0.25, 0.14, 0.09)
    parts = [
        Part([ear, mirrored(ear)]),
        Part([head]),
        Part([inner, mirrored(inner)], Role.SKIN, detail=True),
        Part([muzzle], Role.SECOND, detail=True),
        Part([eye, mirrored(eye), nose], Role.DARK, detail=True),
    ]
    if rng.random() < 0.6:
        parts.insert(0, Part([shoulders]))
        return Figure(parts, Stance.FROM_BELOW)
    return Figure(parts, Stance.UPRIGHT)


def bird(rng: np.random.Generator) -> Figure:
    """A bird that stands or swims."""
    body = fourier(rng, 0.04) * (1, rng.uniform(0.5, 0.75))
    head = (rng.uniform(0.7, 1.1), -rng.uniform(0.5, 1.3))
    size = rng.uniform(0.25, 0.38)
    beak = (
        np.array([[0, -0.4], [rng.uniform(1.2, 3.2), 0.2], [0, 0.5]]) * size
        + head
        + (size * 0.7, 0)
    )
    tail = np.array([[-0.7, -0.2], [-1.8, rng.uniform(-0.6, 0.5)], [-1.7, 0.5], [-0.6, 0.3]])
    wing = shifted(turned(fourier(rng, 0.05) * (0.75, 0.32), 0.25), -0.2, -0.02)
    parts = [Part([tail], Role.SECOND), Part([beak], Role.THIRD)]
    if rng.random() < 0.6:
        leg = rng.uniform(0.4, 1.4)
        legs = [
            *limb([(-0.1, 0.3), (-0.15, 0.5 + leg)], [0.06, 0.04]),
            *limb([(0.15, 0.3), (0.25, 0.5 + leg)], [0.06, 0.04]),
        ]
        parts.insert(0, Part(legs, Role.THIRD))
    parts += [
        Part([body, *limb([(0.55, -0.1), head], [0.4, size * 0.8])]),
        Part(
            [ellipse(*head, size, size)],
            Role.MAIN if rng.random() < 0.5 else Role.SECOND,
        ),
        Part([wing], Role.SECOND if rng.random() < 0.6 else Role.THIRD, detail=True),
        Part([ellipse(head[0] + 0.1, head[1] - 0.05, 0.05, 0.05)], Role.DARK, detail=True),
    ]
    return Figure(parts, Stance.UPRIGHT)


def fish(rng: np.random.Generator) -> Figure:
    """A fish from the side."""
    t = np.linspace(0, np.pi, 40)
    thick = rng.uniform(0.25, 0.6)
    top = np.stack([np.cos(t), -thick * np.sin(t) ** rng.uniform(0.7, 1.3)], 1)
    body = np.concatenate([top, top[::-1] * (1, -rng.uniform(0.7, 1.1))])
    fork = rng.uniform(0.3, 0.7)
    tail = np.array([[-0.8, 0], [-1.6, -fork], [-1.35, 0], [-1.6, fork]])
    fin = np.array([[0.3, -thick * 0.8], [-0.1, -thick - 0.35], [-0.6, -thick * 0.6]])
    parts = [
        Part(
            [tail, fin, fin * (0.8, -0.9)],
            Role.SECOND if rng.random() < 0.6 else Role.MAIN,
        ),
        Part([body]),
        Part([np.array([[0.3, 0.05], [-0.1, 0.3], [-0.1, 0.0]])], Role.SECOND, detail=True),
        Part([ellipse(0.68, -0.08, 0.06, 0.06)], Role.DARK, detail=True),
    ]
    return Figure(parts, Stance.FREE)


def crab(rng: np.random.Generator) -> Figure:
    """A wide body with jointed legs on both sides: crabs, spiders, beetles."""
    body = superellipse(1.0, rng.uniform(0.55, 0.95), rng.uniform(1.8, 3))
    thin = rng.uniform(0.05, 0.12)
    reach = rng.uniform(0.5, 1.1)
    legs: list[Points] = []
    for turn in np.linspace(-0.5, 1.1, int(rng.integers(3, 5))):
        start = (0.75 * np.cos(turn), 0.6 * np.sin(turn))
        knee = (start[0] + reach * np.cos(turn - 0.5), start[1] + reach * np.sin(turn - 0.5))
        lower = turn + rng.uniform(0.5, 1.1)
        foot = (knee[0] + reach * 0.8 * np.cos(lower), knee[1] + reach * 0.8 * np.sin(lower))
        one = limb([start, knee, foot], [thin * 1.4, thin, thin * 0.5])
        legs += [*one, *map(mirrored, one)]
    parts = [Part(legs), Part([body])]
    if rng.random() < 0.6:
        arm = limb([(0.7, -0.4), (1.2, -0.9), (0.9, -1.3)], [thin * 1.6, thin * 1.8, thin * 1.6])
        claw = [ellipse(0.75, -1.45, 0.36, 0.22, -0.8), ellipse(0.95, -1.5, 0.3, 0.14, -1.6)]
        both = [*arm, *claw]
        parts.insert(1, Part([*both, *map(mirrored, both)]))
    eye = ellipse(0.25, -0.6, 0.08, 0.1)
    parts.append(Part([eye, mirrored(eye)], Role.DARK, detail=True))
    return Figure(parts, Stance.FREE)


def butterfly(rng: np.random.Generator) -> Figure:
    """Two pairs of wings and a thin body."""
    upper = turned(fourier(rng, 0.08) * (0.75, rng.uniform(0.4, 0.6)), -0.6)
    upper = shifted(upper, 0.65, -0.4)
    lower = shifted(turned(fourier(rng, 0.08) * (0.5, 0.4), 0.7), 0.5, 0.45)
    spot = ellipse(0.8, -0.5, 0.18, 0.15)
    feeler = limb([(0.03, -0.5), (0.3, -1.1)], [0.025, 0.03])
    return Figure(
        [
            Part([*feeler, *map(mirrored, feeler)], Role.THIRD),
            Part(
                [lower, mirrored(lower)],
                Role.MAIN if rng.random() < 0.5 else Role.SECOND,
            ),
            Part([upper, mirrored(upper)]),
            Part([spot, mirrored(spot)], Role.SECOND, detail=True),
            Part(limb([(0, -0.55), (0, 0.6)], [0.1, 0.07]), Role.THIRD),
        ],
        Stance.FREE,
    )


def snake(rng: np.random.Generator) -> Figure:
    """A long winding body: snakes, worms, ropes, rivers of paint."""
    s = np.linspace(0, 1, 40)
    heading = np.cumsum(
        rng.uniform(0.15, 0.32) * np.sin(2 * np.pi * (s * rng.uniform(1, 2.5) + rng.random()))
    )
    x, y = np.cumsum(np.cos(heading)), np.cumsum(np.sin(heading))
    thick = rng.uniform(0.9, 2.2)
    radii = thick * np.minimum(1, 2.2 * np.minimum(s + 0.2, (1 - s) * 1.5 + 0.06))
    joints = [(float(a), float(b)) for a, b in zip(x, y, strict=True)]
    return Figure([Part(limb(joints, [float(r) for r in radii]))], Stance.FREE)
