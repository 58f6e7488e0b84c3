"""Synthetic clips with known ground truth: moving objects, the noise of a sensor, and H.264.

still   nothing moves
slow    an object moves by 2 pixels per frame
fast    an object moves by 24 pixels per frame
pan     the camera moves by 3 pixels per frame
cut     `slow`, with another scene in the second half
fade    a fade from black, and one to black
"""

from __future__ import annotations

import io
import itertools
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from dsunet.scenes.drawn_backgrounds import random_background
from dsunet.scenes.figures import random_figure_kind
from dsunet.scenes.light import random_light
from dsunet.scenes.objects import place_figure
from dsunet.scenes.part_materials import salient_materials

NAMES = ("still", "slow", "fast", "pan", "cut", "fade")
SHAPE = (360, 640)
COUNT, RATE = 60, 25
_SEED = 3
_NOISE = 4.0
"""Standard deviation of the sensor's noise, in levels."""
_LIGHT = 0.03
"""Amplitude of the slow change of light."""
_FAST_FRAMES = 15
"""Frames after which the fast object begins again."""
_FADE_FRAMES = 20
_PAN, _FASTEST = 3, 24

Image = NDArray[np.uint8]
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Clip:
    """Frames with their ground truth and movement."""

    images: list[Image]
    """H×W×3, after encoding and decoding."""
    inside: list[NDArray[np.bool_]]
    """Ground truth, H×W."""
    is_still: list[NDArray[np.bool_]]
    """H×W, for each frame but the last: where the next one shows the same."""
    movements: list[tuple[int, int] | None]
    """For each frame but the last: rows and columns by which `moving` moves to the next one; None
    where it begins again."""
    moving: list[NDArray[np.bool_]]
    """H×W, for each frame: the object that moves; all for a camera that pans."""


@dataclass(frozen=True)
class _Scene:
    ground: Floats
    objects: list[tuple[Floats, Floats]]
    """Colours and coverage: the one that moves, and the one behind it that does not."""


@dataclass(frozen=True)
class _Drawn:
    image: Floats
    inside: NDArray[np.bool_]
    moving: NDArray[np.bool_]
    at: tuple[int, int]


def make_clip(name: str) -> Clip:
    """Draw one of `NAMES`."""
    first, second = _scene(_SEED), _scene(_SEED + 100)
    drawn = [_frame(name, index, first, second) for index in range(COUNT)]
    pairs = list(itertools.pairwise(drawn))
    return Clip(
        images=_through_h264(_as_seen([d.image for d in drawn])),
        inside=[d.inside for d in drawn],
        is_still=[np.abs(b.image - a.image).max(axis=2) < 1 / 255 for a, b in pairs],
        movements=[_movement(a.at, b.at) for a, b in pairs],
        moving=[d.moving for d in drawn],
    )


def _movement(old: tuple[int, int], new: tuple[int, int]) -> tuple[int, int] | None:
    rows, columns = new[0] - old[0], new[1] - old[1]
    return (rows, columns) if abs(columns) <= _FASTEST else None


def _scene(seed: int) -> _Scene:
    rng = np.random.default_rng(seed)
    background = random_background(SHAPE, rng)
    light = random_light(rng)
    objects = []
    for column, fraction in ((0.3, 0.07), (0.75, 0.05)):
        materials = salient_materials(rng, background)
        figure = random_figure_kind(rng)(rng)
        body = place_figure(rng, SHAPE, figure, materials, fraction, column, room=0.8)
        objects.append((body.paint(rng, light, 1.0), body.coverage))
    brightness = np.float32(0.5 / max(float(background.colours.mean()), 0.2))
    return _Scene(np.clip(background.colours * brightness, 0, 1), objects)


def _frame(name: str, index: int, first: _Scene, second: _Scene) -> _Drawn:
    match name:
        case "still":
            return _draw(first, (0, 0))
        case "slow":
            return _draw(first, _wandering(index, 2))
        case "fast":
            return _draw(first, _wandering(index % _FAST_FRAMES, _FASTEST))
        case "pan":
            drawn, columns = _draw(first, (0, 0)), -_PAN * index
            image, inside = (np.roll(a, columns, axis=1) for a in (drawn.image, drawn.inside))
            return _Drawn(image, inside, np.ones(SHAPE, bool), (0, columns))
        case "cut":
            half = COUNT // 2
            return _draw(first if index < half else second, _wandering(index % half, 2))
        case _:
            drawn = _draw(first, _wandering(index, 1))
            level = min(1, index / _FADE_FRAMES, (COUNT - 1 - index) / _FADE_FRAMES)
            return _Drawn(drawn.image * level, drawn.inside, drawn.moving, drawn.at)


def _wandering(index: int, speed: int) -> tuple[int, int]:
    return int(6 * np.sin(index / 8)), speed * index


def _draw(scene: _Scene, at: tuple[int, int]) -> _Drawn:
    (colours, coverage), (behind, cover) = scene.objects
    colours, coverage = moved(colours, at), moved(coverage, at)
    image = scene.ground + (behind - scene.ground) * cover[..., None]
    image = image + (colours - image) * coverage[..., None]
    return _Drawn(image, np.maximum(cover, coverage) >= 0.5, coverage >= 0.5, at)


def moved(pixels: Any, by: tuple[int, int]) -> Any:
    """Move an array H×W or H×W×3 by rows and columns; 0 comes in."""
    padded = np.pad(pixels, [(abs(b), abs(b)) for b in by] + [(0, 0)] * (pixels.ndim - 2))
    rows, columns = (slice(abs(b) - b, abs(b) - b + n) for b, n in zip(by, SHAPE, strict=True))
    return padded[rows, columns]


def _as_seen(images: list[Floats]) -> list[Image]:
    """Add the noise of a sensor and a slow change of light."""
    rng = np.random.default_rng(_SEED)
    seen = []
    for index, image in enumerate(images):
        gain = 1 + _LIGHT * np.sin(2 * np.pi * index / 50)
        levels = 255 * gain * image + rng.normal(0, _NOISE, image.shape)
        seen.append(np.clip(levels, 0, 255).astype(np.uint8))
    return seen


def _through_h264(images: list[Image]) -> list[Image]:
    file = io.BytesIO()
    with av.open(file, "w", "mp4") as container:
        stream: Any = container.add_stream("libx264", rate=RATE, options={"crf": "20"})
        stream.height, stream.width = SHAPE
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image)
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
