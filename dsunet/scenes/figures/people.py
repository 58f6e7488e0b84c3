"""People, whole and from the chest up."""

from __future__ import annotations

import numpy as np

from dsunet.scenes.figures.parts import Figure, Part, Role, Stance
from dsunet.scenes.outlines import Points, ellipse, limb, mirrored, shifted, superellipse


def bust(rng: np.random.Generator) -> Figure:
    """A person from the head to the chest."""
    wide = rng.uniform(1.15, 1.6)
    shoulder = np.array(
        [[0.2, 0.85], [0.45, 1.0], [0.8, 1.12], [0.95, 1.3], [1.0, 1.7], [1.08, 3.4]]
    )
    shoulder = shoulder * (wide, 1)
    torso = np.concatenate([mirrored(shoulder)[::-1], shoulder])
    tilt = rng.uniform(-0.15, 0.15)
    long_hair = rng.random() < 0.5
    hair = [ellipse(0, -0.25, 0.66, 0.72, tilt)]
    if long_hair:
        hair.append(shifted(superellipse(0.72, 0.9, 3), 0, 0.45))
    parts = [
        Part(hair, Role.SECOND),
        Part([torso]),
        Part([*limb([(0, 0.5), (0, 1.0)], [0.28, 0.33])], Role.SKIN),
        Part([ellipse(0, 0, 0.54, 0.72, tilt)], Role.SKIN),
        Part([_fringe(rng)], Role.SECOND, detail=True),
        Part(
            [ellipse(-0.2, -0.05, 0.07, 0.04), ellipse(0.2, -0.05, 0.07, 0.04)],
            Role.DARK,
            detail=True,
        ),
    ]
    return Figure(parts, Stance.FROM_BELOW)


def _fringe(rng: np.random.Generator) -> Points:
    t = np.linspace(np.pi, 2 * np.pi, 20)
    top = np.stack([0.75 * np.cos(t), -0.25 + 0.75 * np.sin(t)], 1)
    line = rng.uniform(-0.5, -0.2)
    return np.concatenate([top, [[0.4, line], [0.0, line - 0.1], [-0.4, line]]])


def person(rng: np.random.Generator) -> Figure:
    """A person from head to foot: standing, walking, reaching."""
    hip, shoulder = 0.22, rng.uniform(0.3, 0.4)

    def make_limb(
        start: tuple[float, float], length: float, thick: float, down: float
    ) -> list[Points]:
        first = down + rng.normal(0, 0.35)
        second = first + rng.normal(0, 0.4)
        middle = (start[0] + length * np.sin(first), start[1] + length * np.cos(first))
        end = (middle[0] + length * np.sin(second), middle[1] + length * np.cos(second))
        return limb([start, middle, end], [thick, thick * 0.8, thick * 0.6])

    arm = rng.uniform(0, 1.2)
    skirt = np.array([[-0.25, 0.5], [0.25, 0.5], [0.55, 1.6], [-0.55, 1.6]])
    torso = [
        *limb([(-shoulder * 0.6, -0.35), (shoulder * 0.6, -0.35)], [0.2, 0.2]),
        np.array([[-shoulder, -0.4], [shoulder, -0.4], [hip + 0.06, 0.65], [-hip - 0.06, 0.65]]),
    ]
    legs = Role.SKIN if rng.random() < 0.25 else Role.THIRD
    parts = [
        Part(make_limb((-shoulder, -0.4), 0.5, 0.11, -arm), Role.SKIN),
        Part(make_limb((-0.13, 0.6), 0.72, 0.17, -0.15), legs),
        Part(make_limb((0.13, 0.6), 0.72, 0.17, 0.15), legs),
        Part(limb([(0, -0.4), (0, -0.75)], [0.12, 0.11]), Role.SKIN),
        Part(torso),
        Part(make_limb((shoulder, -0.4), 0.5, 0.11, arm), Role.MAIN),
        Part([ellipse(0, -0.95, 0.2, 0.25)], Role.SKIN),
        Part([ellipse(0, -1.08, 0.22, 0.18)], Role.SECOND),
    ]
    if legs is Role.SKIN:
        parts.insert(4, Part([skirt], Role.THIRD))
    return Figure(parts, Stance.UPRIGHT)
