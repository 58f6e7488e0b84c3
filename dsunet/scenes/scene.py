"""Generate one synthetic scene, from its background to the camera effects.

Objects and backgrounds are drawn, or come from image files.
"""

from __future__ import annotations

import enum
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dsunet.data.image_files import LAST_OUTSIDE
from dsunet.errors import DataError
from dsunet.scenes.background import SceneBackground
from dsunet.scenes.camera_effects import defocused, with_camera_effects
from dsunet.scenes.cutouts import CutoutBody, place_cutout
from dsunet.scenes.drawn_backgrounds import habitat, random_background
from dsunet.scenes.fields import Field, Shape, side_of
from dsunet.scenes.figures import random_figure_kind
from dsunet.scenes.image_sources import DRAWN, Sources, random_file
from dsunet.scenes.light import cast_shadow, random_light, uneven
from dsunet.scenes.objects import Body, place_figure
from dsunet.scenes.occluders import occlude
from dsunet.scenes.part_materials import (
    camouflage_material,
    camouflaged_materials,
    salient_materials,
)
from dsunet.scenes.photograph_backgrounds import background_from_photographs

GENERATOR = 1
"""Version of the generator; another version gives other pixels for the same seed."""

_LEAST_SIDE = 32
_MIN_FRACTION, _MAX_FRACTION = 0.02, 0.75  # of the image that the object covers
_CAMOUFLAGED = 0.25  # fraction of scenes
_OCCLUDED = 0.17  # fraction of scenes with an occluder in front of the object
_CLOSE_UP = 0.1  # fraction of scenes with one object that extends beyond the image
_ATTEMPTS = 100
_LEAST_OPACITY = 1 / 8


class _Placer(Protocol):
    def __call__(self, index: int, *, column: float, fraction: float, room: float) -> Body:
        """Place object `index` of a scene; see `place_figure` for the others."""


class SceneKind(enum.StrEnum):
    """How the object differs from its background."""

    SALIENT = "salient"
    """The object stands out by colour, texture, brightness or focus."""
    CAMOUFLAGED = "camouflaged"
    """The object has the colours and texture of its background, but another outline and shading."""
    EMPTY = "empty"
    """There is no object."""


@dataclass(frozen=True, slots=True)
class Scene:
    """An image, its mask, and how it was made."""

    image: NDArray[np.uint8]
    """H×W×3, RGB."""
    mask: NDArray[np.uint8]
    """H×W, 0 to 255: how much of an object is visible.  Drawn objects have 0 and 255 only."""
    kind: SceneKind
    foregrounds: tuple[Path, ...] = ()
    """The files of its cut-outs."""
    backgrounds: tuple[Path, ...] = ()
    """The files of its background."""


@dataclass(frozen=True, slots=True)
class _Style:
    """Parameters of scenes of one kind."""

    blurred: float  # fraction of scenes with a defocused background
    counts: tuple[float, float, float]  # fractions of scenes with one, two and three objects
    shadow: float  # darkness of shadows, 0 to 1
    always_shadow: bool
    least_relief: float


_SALIENT = _Style(0.55, (0.82, 0.13, 0.05), 1.0, always_shadow=False, least_relief=0.1)
_STYLES = {
    SceneKind.SALIENT: _SALIENT,
    SceneKind.CAMOUFLAGED: _Style(
        0.15, (0.93, 0.06, 0.01), 0.6, always_shadow=True, least_relief=0.6
    ),
    SceneKind.EMPTY: _SALIENT,
}


def make_scene(
    seed: int,
    size: tuple[int, int] = (320, 320),
    kind: SceneKind | None = None,
    sources: Sources = DRAWN,
) -> Scene:
    """Generate a scene, reproducibly.

    The mask covers the visible part of one to three objects, without occluders, and 2 % to 75 % of
    the image; nothing if the kind is empty.

    Args:
        seed: Random seed, 0 or more.
        size: Height and width in pixels, 32 or more.
        kind: SceneKind of the scene; by default camouflaged with probability 0.25, else salient.
        sources: Image files of objects and of backgrounds, from `find_sources`; by default, both
            are drawn.

    Raises:
        DataError: The seed or the size is out of range, a file cannot be read, or the cut-outs are
            too thin to cover 2 % of the image.
    """
    check_seed(seed)
    if min(size) < _LEAST_SIDE:
        raise DataError(
            f"a side of the scene is {min(size)}: it must be {_LEAST_SIDE} pixels or more"
        )
    rng = np.random.default_rng(seed)
    chosen = SceneKind.CAMOUFLAGED if rng.random() < _CAMOUFLAGED else SceneKind.SALIENT
    kind = kind or chosen
    # Drawn figures need no limit: one that fits follows soon.
    for _ in range(_ATTEMPTS) if sources.foregrounds else itertools.count():
        scene = _attempt(rng, size, kind, sources)
        covered = np.count_nonzero(scene.mask > LAST_OUTSIDE) / scene.mask.size
        if kind is SceneKind.EMPTY or _MIN_FRACTION <= covered <= _MAX_FRACTION:
            return scene
    raise DataError(
        f"{sources.foregrounds[0].parent}: in {_ATTEMPTS} attempts, no cut-out covered "
        f"{_MIN_FRACTION:.0%} to {_MAX_FRACTION:.0%} of the image: remove those that are very thin"
    )


def check_seed(seed: int) -> None:
    """Raise DataError if a seed is negative, which NumPy does not accept."""
    if seed < 0:
        raise DataError(f"the seed is {seed}: it must be 0 or more")


def _attempt(rng: np.random.Generator, shape: Shape, kind: SceneKind, sources: Sources) -> Scene:
    style = _STYLES[kind]
    background = _background(rng, shape, kind, sources)
    light = random_light(rng)
    bodies = _bodies(rng, shape, background, kind, sources)
    colours = background.colours
    if rng.random() < style.blurred:
        sharp_row = bodies[0].foot if bodies and rng.random() < 0.4 else None
        colours = defocused(colours, side_of(shape) * rng.exponential(0.016), sharp_row)
    visible = np.zeros(shape, np.float32)
    for body in bodies:
        if style.always_shadow or rng.random() < 0.5:
            dark = cast_shadow(body.coverage, light, body.half_thickness * rng.uniform(0.4, 1.6))
            colours = colours * (1 - style.shadow * dark)[..., None]
        surface = body.paint(rng, light, relief=rng.uniform(style.least_relief, 1.0))
        colours = colours + (surface - colours) * body.coverage[..., None]
        visible = np.maximum(visible, body.coverage)
    if rng.random() < _OCCLUDED:
        material = background.materials[int(rng.integers(len(background.materials)))]
        colours, cover = occlude(colours, material, rng)
        visible = visible * (1 - cover)
    image = with_camera_effects(uneven(colours, rng), rng)
    mask = _soft_mask(visible) if sources.foregrounds else _hard_mask(visible)
    cutouts = tuple(body.source for body in bodies if isinstance(body, CutoutBody))
    return Scene(image, mask, kind, cutouts, background.sources)


def _soft_mask(visible: Field) -> NDArray[np.uint8]:
    # Readers would take the values of nearly transparent pixels for labels.
    return np.where(visible >= _LEAST_OPACITY, np.round(255 * visible), 0).astype(np.uint8)


def _hard_mask(visible: Field) -> NDArray[np.uint8]:
    return np.where(visible >= 0.5, 255, 0).astype(np.uint8)


def _background(
    rng: np.random.Generator, shape: Shape, kind: SceneKind, sources: Sources
) -> SceneBackground:
    if sources.backgrounds:
        return background_from_photographs(sources.backgrounds, shape, rng)
    return habitat(shape, rng) if kind is SceneKind.CAMOUFLAGED else random_background(shape, rng)


def _bodies(
    rng: np.random.Generator,
    shape: Shape,
    background: SceneBackground,
    kind: SceneKind,
    sources: Sources,
) -> list[Body]:
    """One to three objects side by side, mostly of one kind; none if the scene is empty."""
    if kind is SceneKind.EMPTY:
        return []
    count = int(rng.choice((1, 2, 3), p=_STYLES[kind].counts))
    near = count == 1 and rng.random() < _CLOSE_UP
    fraction = rng.uniform(0.4, 0.85) if near else float(np.exp(rng.normal(np.log(0.18), 0.75)))
    room = 1.7 if near else 1.1
    each = float(np.clip(fraction / count**0.7, 0.025, 0.85))
    if sources.foregrounds:
        place = _cutout_placer(rng, background, kind, sources)
    else:
        place = _figure_placer(rng, shape, background, kind)
    bodies: list[Body] = []
    for index in range(count):
        column = float(rng.normal((index + 0.5) / count, 0.12 / count))
        bodies.append(place(index, column=column, fraction=each, room=room))
    return bodies


def _figure_placer(
    rng: np.random.Generator, shape: Shape, background: SceneBackground, kind: SceneKind
) -> _Placer:
    """A placer of drawn figures, all with the same materials."""
    choose = camouflaged_materials if kind is SceneKind.CAMOUFLAGED else salient_materials
    materials = choose(rng, background)
    first = random_figure_kind(rng)

    def place(index: int, *, column: float, fraction: float, room: float) -> Body:
        other = index > 0 and rng.random() < 0.25
        draw_figure = random_figure_kind(rng) if other else first
        figure = draw_figure(rng)
        return place_figure(rng, shape, figure, materials, fraction, column, room)

    return place


def _cutout_placer(
    rng: np.random.Generator, background: SceneBackground, kind: SceneKind, sources: Sources
) -> _Placer:
    """A placer of cut-outs; each after the first is that one again with probability 0.5."""
    first = random_file(rng, sources.foregrounds)
    material = camouflage_material(rng, background) if kind is SceneKind.CAMOUFLAGED else None

    def place(index: int, *, column: float, fraction: float, room: float) -> Body:
        other = index > 0 and rng.random() < 0.5
        source = random_file(rng, sources.foregrounds) if other else first
        return place_cutout(rng, background, source, fraction, column, room, material)

    return place
