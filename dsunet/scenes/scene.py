"""One scene, from the background to the photograph."""

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
from dsunet.scenes.lighting import cast_shadow, random_light, uneven
from dsunet.scenes.objects import Body, place
from dsunet.scenes.occluders import occlude
from dsunet.scenes.wardrobes import camouflaged_wardrobe, salient_wardrobe

GENERATOR = 1
"""The generator's version: another one makes other pixels from the same seed."""

_LEAST_SIDE = 32
_LEAST_SHARE, _LARGEST_SHARE = 0.02, 0.75
_CAMOUFLAGED_SHARE = 0.25
_OCCLUDED = 0.17  # share of scenes where something passes in front of the object
_CLOSE_UP = 0.1  # share of scenes where one object fills the image and is cut by its borders


class Kind(enum.StrEnum):
    """What tells the object from its background."""

    SALIENT = "salient"
    """It stands out: by colour, texture, brightness or focus."""
    CAMOUFLAGED = "camouflaged"
    """It has the colours and the texture of its background; its outline and shading betray it."""


@dataclass(frozen=True, slots=True)
class Scene:
    """`image` H×W×3, uint8, RGB; `mask` H×W, uint8, 255 where the object is seen, else 0."""

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    kind: Kind


@dataclass(frozen=True, slots=True)
class _Style:
    """How scenes of a kind differ from the other's."""

    blurred: float  # share of scenes whose background is out of focus
    counts: tuple[float, float, float]  # shares of scenes with one, two and three objects
    shadow: float  # how dark shadows are
    always_shadow: bool
    least_relief: float


_STYLES = {
    Kind.SALIENT: _Style(0.55, (0.82, 0.13, 0.05), 1.0, always_shadow=False, least_relief=0.1),
    Kind.CAMOUFLAGED: _Style(0.15, (0.93, 0.06, 0.01), 0.6, always_shadow=True, least_relief=0.6),
}


def make_scene(seed: int, size: tuple[int, int] = (320, 320), kind: Kind | None = None) -> Scene:
    """A scene of `size` (height, width), the same for the same arguments.

    The mask is what is visible of the object, or of two or three: not what passes in front of it.
    It covers 2 % to 75 % of the image.  Without `kind` every fourth scene is camouflaged, at
    random.

    Raises DataError if the seed is negative or a side is shorter than 32 pixels.
    """
    check_seed(seed)
    if min(size) < _LEAST_SIDE:
        raise DataError(f"the sides of a scene have {_LEAST_SIDE} pixels or more, not {min(size)}")
    rng = np.random.default_rng(seed)
    chosen = Kind.CAMOUFLAGED if rng.random() < _CAMOUFLAGED_SHARE else Kind.SALIENT
    kind = kind or chosen
    while True:
        scene = _attempt(rng, size, kind)
        if _LEAST_SHARE <= np.count_nonzero(scene.mask) / scene.mask.size <= _LARGEST_SHARE:
            return scene


def check_seed(seed: int) -> None:
    """Raises DataError for what NumPy takes for no seed."""
    if seed < 0:
        raise DataError(f"a seed is 0 or more, not {seed}")


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
    """One object, sometimes two or three side by side, mostly of one make."""
    count = int(rng.choice((1, 2, 3), p=_STYLES[kind].counts))
    near = count == 1 and rng.random() < _CLOSE_UP
    share = rng.uniform(0.4, 0.85) if near else float(np.exp(rng.normal(np.log(0.18), 0.75)))
    room = 1.7 if near else 1.1
    dress = camouflaged_wardrobe if kind is Kind.CAMOUFLAGED else salient_wardrobe
    clothes = dress(rng, background)
    make = random_make(rng)
    bodies: list[Body] = []
    for index in range(count):
        column = float(rng.normal((index + 0.5) / count, 0.12 / count))
        other = index and rng.random() < 0.25
        figure = (random_make(rng) if other else make)(rng)
        each = float(np.clip(share / count**0.7, 0.025, 0.85))
        bodies.append(place(rng, shape, figure, clothes, each, column, room))
    return bodies
