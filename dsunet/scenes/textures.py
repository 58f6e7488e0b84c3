"""Textures: random processes of many families; each draws values from 0 to 1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from dsunet.scenes.fields import Field, Shape, coordinates, side_of, smoothstep, squashed
from dsunet.scenes.noise import band, cells, cloud, drift


@dataclass(frozen=True, slots=True)
class Texture:
    """A random process; `draw` makes one sample of it, values 0 to 1.

    `frequency` is in cycles per side, `angle` in radians; `stretch` is the ratio of the length of
    its grains to their width, and `variant`, 0 to 1, is a parameter of each family.
    """

    draw: Callable[[Texture, Shape, np.random.Generator], Field]
    frequency: float
    angle: float
    stretch: float
    variant: float


def random_texture(rng: np.random.Generator, families: tuple[Family, ...]) -> Texture:
    """A texture of one of these families, with random parameters."""
    return Texture(
        draw=families[rng.integers(len(families))],
        frequency=float(np.exp(rng.uniform(np.log(5), np.log(40)))),
        angle=float(rng.uniform(0, np.pi)),
        stretch=float(np.exp(rng.uniform(0, np.log(3)))),
        variant=float(rng.random()),
    )


def clouds(texture: Texture, shape: Shape, rng: np.random.Generator) -> Field:
    """Noise of many scales: stone, plaster, mist, earth."""
    return squashed(cloud(shape, rng, 0.7 + 1.5 * texture.variant, texture.frequency / 6))


def smooth(texture: Texture, shape: Shape, rng: np.random.Generator) -> Field:
    """Almost one colour: paint, plastic, skin, clear sky."""
    return 0.5 + (0.05 + 0.2 * texture.variant) * drift(shape, rng, 1.8)


def grain(texture: Texture, shape: Shape, rng: np.random.Generator) -> Field:
    """Fine grain: sand, gravel, asphalt, felt."""
    fine = band(shape, rng, side_of(shape) / (3 + 5 * texture.variant), 0.5)
    return squashed(0.8 * fine + 0.4 * cloud(shape, rng, 1.5))


def spots(texture: Texture, shape: Shape, rng: np.random.Generator) -> Field:
    """Spots or a maze, as reaction and diffusion make them: coats, corals, lichen."""
    field = band(shape, rng, texture.frequency, 0.2, texture.angle, 0.7 + 0.3 * texture.stretch)
    level = 1.2 * texture.variant - 0.6
    return 0.85 * smoothstep(field, level - 0.25, level + 0.25) + 0.05 * cloud(shape, rng, 1)


def stripes(texture: Texture, shape: Shape, rng: np.random.Generator) -> Field:
    """Stripes, straight or wavy: coats, cloth, boards, ripples."""
    along, _ = coordinates(shape, texture.angle)
    warp = drift(shape, rng, 2.0)
    phase = texture.frequency * along + (2.5 * texture.variant**2) * warp + rng.random()
    waves = np.sin(np.float32(2 * np.pi) * phase)
    edge = 0.3 + 0.9 * texture.stretch / 3
    return 0.1 + 0.8 * smoothstep(waves, -edge, edge) + 0.05 * cloud(shape, rng, 0.8)


def fur(texture: Texture, shape: Shape, rng: np.random.Generator) -> Field:
    """Fibres along a direction: fur, grass, hay, bark, brushed metal."""
    fine = band(shape, rng, texture.frequency * 2.5, 0.6, texture.angle, 3 + 3 * texture.stretch)
    coarse = band(shape, rng, 4, 0.6, texture.angle, 1.5)
    return squashed(0.8 * fine + 0.5 * coarse)


def pebbles(texture: Texture, shape: Shape, rng: np.random.Generator) -> Field:
    """Rounded cells with dark gaps: pebbles, scales, leather, coral."""
    near, next_, own = cells(shape, rng, texture.frequency, texture.angle, texture.stretch)
    gap = smoothstep(next_ - near, 0.02, 0.2 + 0.3 * texture.variant)
    return np.asarray(gap * (0.45 + 0.5 * own) * (1 - 0.25 * near), np.float32)


def mosaic(texture: Texture, shape: Shape, rng: np.random.Generator) -> Field:
    """Cells of one value each: dry leaves, crystals, patches of cloth."""
    near, _, own = cells(shape, rng, texture.frequency, texture.angle, texture.stretch)
    value = 0.9 * own + 0.15 * texture.variant * near
    return np.asarray(value + 0.04 * cloud(shape, rng, 0.8), np.float32)


def tiles(texture: Texture, shape: Shape, rng: np.random.Generator) -> Field:
    """A grid of tiles or bricks with joints: walls, floors, distant windows, checked cloth."""
    angle = texture.angle if texture.variant < 0.3 else 0.05 * texture.angle
    x, y = coordinates(shape, angle)
    count = texture.frequency / 2.5
    row = y * count * texture.stretch
    column = x * count + 0.5 * (np.floor(row) % 2) * (texture.variant > 0.5)
    row, column = row - row.min(), column - column.min()
    own = rng.random((int(row.max()) + 1, int(column.max()) + 1), dtype=np.float32)
    value = own[row.astype(np.int32), column.astype(np.int32)]
    to_joint = np.minimum(np.minimum(row % 1, 1 - row % 1), np.minimum(column % 1, 1 - column % 1))
    joint = smoothstep(to_joint.astype(np.float32), 0.02, 0.09)
    surface = joint * (0.5 + 0.4 * value)
    return np.asarray(surface + 0.05 * cloud(shape, rng, 0.8), np.float32)


def weave(texture: Texture, shape: Shape, rng: np.random.Generator) -> Field:
    """Threads over and under: cloth, baskets, knitwear, mesh."""
    x, y = coordinates(shape, texture.angle)
    warp = drift(shape, rng, 2.0) * np.float32(0.02)
    frequency = np.float32(texture.frequency * 1.3 * 2 * np.pi)
    threads = np.sin((x + warp) * frequency) * np.sin((y - warp) * frequency / texture.stretch)
    return np.asarray(0.5 + 0.35 * threads + 0.07 * cloud(shape, rng, 1.2), np.float32)


def blades(texture: Texture, shape: Shape, rng: np.random.Generator) -> Field:
    """Overlapping strokes, darker below: grass, twigs, straw, needles."""
    image, draw = _slate(rng)
    length = 1.6 * _SLATE / texture.frequency
    for level in np.linspace(0.1, 1, 260):
        at = rng.uniform(-0.1, 1.1, 2) * _SLATE
        turn = texture.angle + 0.45 * rng.standard_normal()
        bend = turn + 0.4 * rng.standard_normal()
        middle = at + length * rng.uniform(0.5, 1.2) * np.array([np.cos(turn), np.sin(turn)])
        end = middle + length * rng.uniform(0.5, 1.2) * np.array([np.cos(bend), np.sin(bend)])
        value = int(255 * np.clip(level * rng.uniform(0.5, 1.0), 0, 1))
        width = max(1, round(length * rng.uniform(0.05, 0.12 + 0.15 * texture.variant)))
        draw.line([*at, *middle, *end], fill=value, width=width, joint="curve")
    return _from_slate(image, shape)


def leaves(texture: Texture, shape: Shape, rng: np.random.Generator) -> Field:
    """Overlapping leaves, darker below: foliage, litter, petals, shingle."""
    image, draw = _slate(rng)
    size = 1.1 * _SLATE / texture.frequency
    t = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    slim = 0.3 + 0.6 * texture.variant
    leaf = np.stack([np.cos(t), slim * np.sin(t) * (1 - 0.35 * np.cos(t))], 1)
    for level in np.linspace(0.05, 1, int(min(420, 14 * texture.frequency + 60))):
        turn = texture.angle + rng.uniform(-1.3, 1.3)
        cos, sin = np.cos(turn), np.sin(turn)
        points = leaf @ np.array([[cos, sin], [-sin, cos]]) * size * rng.uniform(0.6, 1.5)
        points += rng.uniform(-0.05, 1.05, 2) * _SLATE
        value = int(255 * np.clip(level * rng.uniform(0.55, 1.0), 0, 1))
        draw.polygon([*points.ravel()], fill=value, outline=int(0.8 * value))
    return _from_slate(image, shape)


Family = Callable[[Texture, Shape, np.random.Generator], Field]

GROUND: tuple[Family, ...] = (clouds, grain, fur, pebbles, blades, leaves, spots, mosaic)
MADE: tuple[Family, ...] = (smooth, tiles, stripes, weave, grain, clouds)
COAT: tuple[Family, ...] = (fur, spots, stripes, smooth, clouds, pebbles)
ANY: tuple[Family, ...] = (
    clouds, smooth, smooth, grain, spots, stripes, fur, pebbles, mosaic, tiles, weave, blades,
    leaves,
)  # fmt: skip

_SLATE = 384


def _slate(rng: np.random.Generator) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("L", (_SLATE, _SLATE), int(rng.integers(0, 60)))
    return image, ImageDraw.Draw(image)


def _from_slate(image: Image.Image, shape: Shape) -> Field:
    """Resize a square drawing to cover the image, without a change of aspect ratio."""
    height, width = shape
    scale = _SLATE / max(height, width)
    box = (0.0, 0.0, width * scale, height * scale)
    cut = image.resize((width, height), Image.Resampling.BILINEAR, box)
    return np.asarray(cut, np.float32) / np.float32(255)
