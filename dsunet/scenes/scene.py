"""Generate one synthetic scene, from its background to camera effects."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsunet.errors import DataError
from dsunet.scenes.backgrounds import Background, habitat, random_background
from dsunet.scenes.fields import Shape, side_of
from dsunet.scenes.figures import random_make
from dsunet.scenes.finish import defocused, photographed
from dsunet.scenes.light import cast_shadow, random_light, uneven
from dsunet.scenes.objects import Body, place
from dsunet.scenes.occluders import occlude
from dsunet.scenes.wardrobes import camouflaged_wardrobe, salient_wardrobe

GENERATOR = 1
"""Version of the generator; another version gives other pixels for the same seed."""

_LEAST_SIDE = 32
_MIN_FRACTION, _MAX_FRACTION = 0.02, 0.75  # of the image that the object covers
_CAMOUFLAGED = 0.25  # fraction of scenes
_OCCLUDED = 0.17  # fraction of scenes with an occluder in front of the object
_CLOSE_UP = 0.1  # fraction of scenes with one object that extends beyond the image


class Kind(enum.StrEnum):
    """How the object differs from its background."""

    SALIENT = "salient"
    """The object stands out by colour, texture, brightness or focus."""
    CAMOUFLAGED = "camouflaged"
    """The object has the colours and texture of its background, but another outline and shading."""


@dataclass(frozen=True, slots=True)
class Scene:
    """`image` H×W×3, uint8, RGB; `mask` H×W, uint8, 255 where the object is visible, else 0."""

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    kind: Kind


@dataclass(frozen=True, slots=True)
class _Style:
    """Parameters of scenes of one kind."""

    blurred: float  # fraction of scenes with a defocused background
    counts: tuple[float, float, float]  # fractions of scenes with one, two and three objects
    shadow: float  # darkness of shadows, 0 to 1
    always_shadow: bool
    least_relief: float


_STYLES = {
    Kind.SALIENT: _Style(0.55, (0.82, 0.13, 0.05), 1.0, always_shadow=False, least_relief=0.1),
    Kind.CAMOUFLAGED: _Style(0.15, (0.93, 0.06, 0.01), 0.6, always_shadow=True, least_relief=0.6),
}


def make_scene(seed: int, size: tuple[int, int] = (320, 320), kind: Kind | None = None) -> Scene:
    """Generate a scene, reproducibly.

    The mask covers the visible part of one to three objects, without occluders, and 2 % to 75 % of
    the image.

    Args:
        seed: Random seed, 0 or more.
        size: Height and width in pixels, 32 or more.
        kind: Kind of the scene; by default camouflaged with probability 0.25, else salient.

    Raises:
        DataError: The seed or the size is out of range.
    """
    check_seed(seed)
    if min(size) < _LEAST_SIDE:
        raise DataError(
            f"a side of the scene is {min(size)}: it must be {_LEAST_SIDE} pixels or more"
        )
    rng = np.random.default_rng(seed)
    chosen = Kind.CAMOUFLAGED if rng.random() < _CAMOUFLAGED else Kind.SALIENT
    kind = kind or chosen
    while True:
        scene = _attempt(rng, size, kind)
        if _MIN_FRACTION <= np.count_nonzero(scene.mask) / scene.mask.size <= _MAX_FRACTION:
            return scene


def check_seed(seed: int) -> None:
    """Raise DataError if a seed is negative, which NumPy does not accept."""
    if seed < 0:
        raise DataError(f"the seed is {seed}: it must be 0 or more")


def _attempt(rng: np.random.Generator, shape: Shape, kind: Kind) -> Scene:
    style = _STYLES[kind]
    draw_background = habitat if kind is Kind.CAMOUFLAGED else random_background
    background = draw_background(shape, rng)
    light = random_light(rng)
    bodies = _bodies(rng, shape, background, kind)
    colours = background.colours
    if rng.random() < style.blurred:
        sharp_row = bodies[0].foot if rng.random() < 0.4 else None
        colours = defocused(colours, side_of(shape) * rng.exponential(0.016), sharp_row)
    visible = np.zeros(shape, np.float32)
    for body in bodies:
        if style.always_shadow or rng.random() < 0.5:
            dark = cast_shadow(body.coverage, light, body.size * rng.uniform(0.4, 1.6))
            colours = colours * (1 - style.shadow * dark)[..., None]
        surface = body.painted(rng, light, relief=rng.uniform(style.least_relief, 1.0))
        colours = colours + (surface - colours) * body.coverage[..., None]
        visible = np.maximum(visible, body.coverage)
    if rng.random() < _OCCLUDED:
        material = background.materials[rng.integers(len(background.materials))]
        colours, cover = occlude(colours, material, rng)
        visible = visible * (1 - cover)
    image = photographed(uneven(colours, rng), rng)
    return Scene(image, np.where(visible >= 0.5, 255, 0).astype(np.uint8), kind)


def _bodies(
    rng: np.random.Generator, shape: Shape, background: Background, kind: Kind
) -> list[Body]:
    """One object, or two or three side by side, mostly of the same sort."""
    count = int(rng.choice((1, 2, 3), p=_STYLES[kind].counts))
    near = count == 1 and rng.random() < _CLOSE_UP
    fraction = rng.uniform(0.4, 0.85) if near else float(np.exp(rng.normal(np.log(0.18), 0.75)))
    room = 1.7 if near else 1.1
    dress = camouflaged_wardrobe if kind is Kind.CAMOUFLAGED else salient_wardrobe
    clothes = dress(rng, background)
    make = random_make(rng)
    bodies: list[Body] = []
    for index in range(count):
        column = float(rng.normal((index + 0.5) / count, 0.12 / count))
        other = index and rng.random() < 0.25
        figure = (random_make(rng) if other else make)(rng)
        each = float(np.clip(fraction / count**0.7, 0.025, 0.85))
        bodies.append(place(rng, shape, figure, clothes, each, column, room))
    return bodies
