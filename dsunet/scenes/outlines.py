"""Outlines: polygons in figures' own coordinates (x right, y down), and their pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from dsunet.scenes.fields import Field, Shape

Points = NDArray[np.float64]
"""Corners N×2 of a polygon, x and y."""

_SAMPLES = 3  # across and down in each pixel, for smooth edges


def ellipse(x: float, y: float, across: float, down: float, angle: float = 0.0) -> Points:
    """An ellipse of these radii, turned by `angle` in radians."""
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    around = np.stack([across * np.cos(t), down * np.sin(t)], 1)
    return shifted(turned(around, angle), x, y)


def superellipse(across: float, down: float, power: float) -> Points:
    """A superellipse: a star (power below 1), an ellipse (2) or nearly a rectangle (large)."""
    t = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    cos, sin = np.cos(t), np.sin(t)
    return np.stack(
        [
            across * np.sign(cos) * np.abs(cos) ** (2 / power),
            down * np.sign(sin) * np.abs(sin) ** (2 / power),
        ],
        1,
    )


def fourier(rng: np.random.Generator, roughness: float, harmonics: int = 7) -> Points:
    """A smooth closed curve around 0: a radius of 1 and random harmonics."""
    t = np.linspace(0, 2 * np.pi, 160, endpoint=False)
    radius = np.ones_like(t)
    for n in range(1, harmonics + 1):
        radius += roughness / n**1.1 * rng.standard_normal() * np.cos(n * t + rng.uniform(0, 6.3))
    radius = np.maximum(radius, 0.25)
    return np.stack([radius * np.cos(t), radius * np.sin(t)], 1)


def limb(joints: Sequence[tuple[float, float]], radii: Sequence[float]) -> list[Points]:
    """A rounded tube through joints, with a radius for each."""
    shapes = [ellipse(x, y, radius, radius) for (x, y), radius in zip(joints, radii, strict=True)]
    for i in range(len(joints) - 1):
        start, end = np.asarray(joints[i], float), np.asarray(joints[i + 1], float)
        along = end - start
        side = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-9)
        shapes.append(
            np.stack(
                [
                    start + side * radii[i],
                    end + side * radii[i + 1],
                    end - side * radii[i + 1],
                    start - side * radii[i],
                ]
            )
        )
    return shapes


def mirrored(points: Points) -> Points:
    """Mirror polygons left to right."""
    return np.asarray(points * np.array((-1, 1)))


def shifted(points: Points, x: float, y: float) -> Points:
    """Move polygons right by x and down by y."""
    return np.asarray(points + np.array((x, y)))


def turned(points: Points, angle: float) -> Points:
    """Rotate polygons around 0 by `angle` in radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.asarray(points @ np.array([[cos, sin], [-sin, cos]]))


def coverage(polygons: Sequence[Points], shape: Shape) -> Field:
    """Fraction of each pixel that the union of the polygons covers; corners are in pixels."""
    height, width = shape
    image = Image.new("L", (width * _SAMPLES, height * _SAMPLES))
    draw = ImageDraw.Draw(image)
    for polygon in polygons:
        draw.polygon([*(polygon * _SAMPLES).ravel()], fill=255)
    return np.asarray(image.reduce(_SAMPLES), np.float32) / np.float32(255)
