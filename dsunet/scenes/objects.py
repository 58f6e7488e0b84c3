"""Drawn objects: figures placed in the image, with materials."""

from __future__ import annotations

import abc
from dataclasses import dataclass

import numpy as np

from dsunet.scenes.fields import Colours, Field, Shape
from dsunet.scenes.figures import Figure, Stance
from dsunet.scenes.light import Light, facing, half_thickness, lit, rounded
from dsunet.scenes.materials import Material
from dsunet.scenes.outlines import Points, coverage, turned
from dsunet.scenes.part_materials import PartMaterials


@dataclass(frozen=True, slots=True)
class PlacedPart:
    """A part in the image."""

    coverage: Field
    """H×W, 0 to 1."""
    material: Material
    flat: bool
    """Whether it lies flat on the parts before it."""


@dataclass(frozen=True, slots=True)
class Body(abc.ABC):
    """An object in the image."""

    coverage: Field
    """H×W, 0 to 1."""
    half_thickness: float
    """Approximate, in pixels."""

    @property
    def foot(self) -> float:
        """The lowest row of the object in the image."""
        return float(np.flatnonzero(self.coverage.any(1)).max(initial=0))

    @abc.abstractmethod
    def paint(self, rng: np.random.Generator, light: Light, relief: float) -> Colours:
        """Paint the surface H×W×3 in this light; it is valid only inside the body.

        `relief` is the strength of the shading, 0 to 1.
        """


@dataclass(frozen=True, slots=True)
class DrawnBody(Body):
    """A drawn figure in the image, with its parts from back to front."""

    layers: list[PlacedPart]

    def paint(self, rng: np.random.Generator, light: Light, relief: float) -> Colours:
        """Paint the surface H×W×3 in this light; it is valid only inside the body."""
        shape = (self.coverage.shape[0], self.coverage.shape[1])
        height = rounded(self.coverage, self.half_thickness)
        samples: dict[Material, Colours] = {}
        colours = np.zeros((*shape, 3), np.float32)
        for layer in self.layers:
            if layer.material not in samples:
                samples[layer.material] = layer.material.paint(shape, rng)
            cover = layer.coverage
            colours += (samples[layer.material] - colours) * cover[..., None]
            if not layer.flat:
                height += 0.6 * (rounded(cover, half_thickness(cover)) - height) * cover
        gloss = rng.uniform(0.1, 0.5) if rng.random() < 0.3 else 0.0
        return lit(colours, facing(height, self.half_thickness, light), light, relief, gloss)


def place_figure(
    rng: np.random.Generator,
    shape: Shape,
    figure: Figure,
    materials: PartMaterials,
    fraction: float,
    column: float,
    room: float,
) -> DrawnBody:
    """Place a figure so that it covers about `fraction` of the image.

    It is centred near `column`, 0 (left) to 1 (right), and at most `room` times as high and wide as
    the image.
    """
    corners = _posed(rng, figure)
    if figure.stance is Stance.FROM_BELOW:
        fraction = min(2 * fraction, 0.85)  # as people are in close-ups
    scale = np.sqrt(fraction * shape[0] * shape[1] / _area(corners))
    low, high = _extent(corners)
    scale = min(scale, room * shape[1] / (high[0] - low[0]), room * shape[0] / (high[1] - low[1]))
    at = np.array([shape[1] * column, shape[0] * rng.normal(0.52, 0.08)])
    offset = at - scale * (low + high) / 2
    if figure.stance is Stance.FROM_BELOW:
        offset[1] = shape[0] - scale * (high[1] - rng.uniform(0.02, 0.3) * (high[1] - low[1]))
    placed = [[points * scale + offset for points in polygons] for polygons in corners]
    return _with_materials(figure, placed, shape, materials)


def _with_materials(
    figure: Figure, placed: list[list[Points]], shape: Shape, materials: PartMaterials
) -> DrawnBody:
    whole = np.zeros(shape, np.float32)
    layers: list[PlacedPart] = []
    for part, polygons in zip(figure.parts, placed, strict=True):
        cover = coverage(polygons, shape)
        if part.hole:
            whole = whole * (1 - cover)
            continue
        if part.detail:
            cover = np.minimum(cover, whole)
        else:
            whole = np.maximum(whole, cover)
        layers.append(PlacedPart(cover, materials[part.role], flat=part.detail))
    return DrawnBody(whole, half_thickness(whole), layers)


def _posed(rng: np.random.Generator, figure: Figure) -> list[list[Points]]:
    """Transform the figure's corners: flip, rotate as allowed, bend by a slow wave, squeeze."""
    flip = rng.choice((-1, 1))
    angle = rng.uniform(0, 2 * np.pi) if figure.stance is Stance.FREE else rng.normal(0, 0.1)
    squeeze = np.array([np.exp(rng.normal(0, 0.12)), 1.0])
    bend, rate, phase = rng.normal(0, 0.06, 2), rng.uniform(1, 3, 2), rng.uniform(0, 6.3, 2)

    def pose(points: Points) -> Points:
        wave = bend * np.sin(points[:, ::-1] * rate + phase)
        return turned((points + wave) * (flip, 1) * squeeze, float(angle))

    return [[pose(points) for points in part.polygons] for part in figure.parts]


def _extent(corners: list[list[Points]]) -> tuple[Points, Points]:
    everything = np.concatenate([points for polygons in corners for points in polygons])
    return everything.min(0), everything.max(0)


def _area(corners: list[list[Points]]) -> float:
    """Area of the union of the polygons."""
    low, high = _extent(corners)
    scale = 64 / float((high - low).max())
    moved = [(points - low) * scale for polygons in corners for points in polygons]
    return float(coverage(moved, (65, 65)).sum()) / scale**2
