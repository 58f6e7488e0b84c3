"""Drawn backgrounds without a salient object: rooms, horizons, patches, clutter."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from dsunet.scenes.background import SceneBackground
from dsunet.scenes.fields import (
    Colours,
    Field,
    Shape,
    blurred,
    blurred_colours,
    coordinates,
    side_of,
    smoothstep,
)
from dsunet.scenes.materials import random_material
from dsunet.scenes.noise import cloud
from dsunet.scenes.palettes import Ramp, natural_ramp, vivid_ramp
from dsunet.scenes.textures import ANY, GROUND, MADE, smooth
from dsunet.scenes.weighted_choice import weighted_choice


def random_background(shape: Shape, rng: np.random.Generator) -> SceneBackground:
    """Draw a background of a random kind of `_BACKGROUNDS`."""
    return weighted_choice(rng, _BACKGROUNDS)(shape, rng)


def habitat(shape: Shape, rng: np.random.Generator) -> SceneBackground:
    """A habitat for a camouflaged animal: one rich texture, perhaps with patches of another."""
    material = random_material(rng, GROUND, natural_ramp(rng))
    colours = material.paint(shape, rng)
    materials = [material]
    if rng.random() < 0.4:
        alike = 0.5 * natural_ramp(rng) + 0.5 * material.ramp.mean(0)
        other = random_material(rng, GROUND, alike)
        patch = smoothstep(cloud(shape, rng, 1.8), 0.6, 0.9)[..., None]
        colours = colours * (1 - patch) + other.paint(shape, rng) * patch
        materials.append(other)
    return SceneBackground(colours, materials)


def plain(shape: Shape, rng: np.random.Generator) -> SceneBackground:
    """A wall, a cloth, a lawn, a studio: one material."""
    material = random_material(rng, (*ANY, smooth, smooth, smooth), _any_ramp(rng))
    return SceneBackground(material.paint(shape, rng), [material])


def horizon(shape: Shape, rng: np.random.Generator) -> SceneBackground:
    """Sky or distance above, and ground that recedes from the camera below."""
    height, width = shape
    level = rng.uniform(0.2, 0.7) * height
    far = random_material(rng, (*GROUND, smooth, smooth, smooth), natural_ramp(rng))
    ground = random_material(rng, (*GROUND, *MADE), natural_ramp(rng))
    colours = far.paint(shape, rng)
    y = np.mgrid[:height, :width][0].astype(np.float32)
    glow = np.clip(y / np.float32(level), 0, 1)[..., None]
    colours = colours * (1 - 0.4 * glow) + 0.4 * glow * colours.mean((0, 1)) * 1.3
    materials = [ground, far]
    line = level + rng.uniform(0, 0.012) * height * _profile(width, rng, 1.2)
    for _ in range(int(rng.integers(0, 3))):
        hill = random_material(rng, (*GROUND, *MADE), natural_ramp(rng))
        rise = rng.uniform(0.03, 0.14) * height
        top = line - rise - 0.5 * rise * _profile(width, rng, rng.uniform(0.8, 2))
        if rng.random() < 0.4:
            top = _stepped(top, rng)
        colours = _below(colours, hill.paint(shape, rng) * rng.uniform(0.6, 1.1), y, top)
        materials.append(hill)
    near = _receding(ground.paint(shape, rng), level)
    return SceneBackground(_below(colours, near, y, line), materials)


def room(shape: Shape, rng: np.random.Generator) -> SceneBackground:
    """A wall and a floor or table, with frames, shelves, windows and curtains."""
    height, width = shape
    wall = random_material(rng, (smooth, *MADE), _any_ramp(rng))
    floor = random_material(rng, MADE, _any_ramp(rng))
    level = rng.uniform(0.5, 0.95) * height
    colours = wall.paint(shape, rng)
    for _ in range(int(rng.integers(0, 6))):
        _panel(colours, rng, level)
    y = np.mgrid[:height, :width][0].astype(np.float32)
    near = _receding(floor.paint(shape, rng), level)
    line = level + rng.normal(0, 0.12) * (np.arange(width) - width / 2)
    return SceneBackground(_below(colours, near, y, line.astype(np.float32)), [wall, floor])


def patches(shape: Shape, rng: np.random.Generator) -> SceneBackground:
    """Several materials side by side, with borders smooth, ragged or straight."""
    count = int(rng.integers(2, 5))
    materials = [random_material(rng, ANY, _any_ramp(rng)) for _ in range(count)]
    if rng.random() < 0.5:
        field = cloud(shape, rng, rng.uniform(1.5, 2.3))
    else:
        along, _ = coordinates(shape, rng.uniform(0, np.pi))
        field = (along - along.mean()) * 3 + 0.25 * cloud(shape, rng, 1.6)
    colours = materials[0].paint(shape, rng)
    soft = float(np.exp(rng.uniform(np.log(0.02), np.log(0.5))))
    for material, level in zip(materials[1:], np.sort(rng.uniform(-0.9, 1.1, count)), strict=False):
        inside = smoothstep(field, level - soft, level + soft)[..., None]
        colours = colours * (1 - inside) + material.paint(shape, rng) * inside
    return SceneBackground(colours, materials)


def streets(shape: Shape, rng: np.random.Generator) -> SceneBackground:
    """Blocks behind blocks: houses, shelves, machines, parked cars."""
    height, width = shape
    base = random_material(rng, MADE, _any_ramp(rng))
    colours = base.paint(shape, rng)
    materials = [base]
    for depth in np.linspace(0.1, 0.9, int(rng.integers(5, 14))):
        material = random_material(rng, MADE, _any_ramp(rng))
        wide, top = int(width * rng.uniform(0.1, 0.35)), int(height * depth * rng.uniform(0.5, 1.1))
        left = int(rng.uniform(-0.15, 1) * width)
        block = np.s_[max(0, top) : height, max(0, left) : max(0, left + wide)]
        if colours[block].size:
            part = colours[block].shape[:2]
            tall = (max(16, part[0]), max(16, part[1]))
            colours[block] = material.paint(tall, rng)[: part[0], : part[1]]
            materials.append(material)
    return SceneBackground(colours, materials)


def thicket(shape: Shape, rng: np.random.Generator) -> SceneBackground:
    """Stems or poles in front of a blurred surface: woods, reeds, fences."""
    height, width = shape
    behind = random_material(rng, GROUND, natural_ramp(rng))
    colours = behind.paint(shape, rng)
    stem = random_material(rng, GROUND, natural_ramp(rng))
    bark = stem.paint(shape, rng)
    image = Image.new("L", (width * 2, height * 2))
    draw = ImageDraw.Draw(image)
    count = int(rng.integers(3, 22))
    lean = rng.normal(0, 0.08)
    for _ in range(count):
        x = rng.uniform(0, 2 * width)
        bend = (lean + rng.normal(0, 0.05)) * 2 * height
        thick = int(2 * width * rng.uniform(0.15, 0.7) / count) + 1
        draw.line([x, -9, x + bend, 2 * height + 9], fill=255, width=thick)
    cover = np.asarray(image.reduce(2), np.float32) / np.float32(255)
    round_ = 0.55 + 0.6 * blurred(cover, max(1.0, 0.1 * width / count))
    bark = bark * round_[..., None]
    return SceneBackground(colours + (bark - colours) * cover[..., None], [behind, stem])


def lights(shape: Shape, rng: np.random.Generator) -> SceneBackground:
    """Distant lights out of focus: many discs of one size in front of a dark blur."""
    height, width = shape
    base = random_material(rng, (smooth, *GROUND), natural_ramp(rng))
    colours = base.paint(shape, rng) * rng.uniform(0.3, 1)
    colours = blurred_colours(colours, side_of(shape) / 12)
    radius = side_of(shape) * rng.uniform(0.015, 0.05)
    image = Image.new("RGB", (width * 2, height * 2))
    draw = ImageDraw.Draw(image, "RGBA")  # what is drawn is blended
    ramp = _any_ramp(rng)
    for _ in range(int(rng.integers(15, 80))):
        x, y = rng.uniform(0, 2 * width), rng.uniform(0, 2 * height) * rng.uniform(0.3, 1)
        size = 2 * radius * rng.uniform(0.7, 1.2)
        box = (x - size, y - size, x + size, y + size)
        colour = ramp[rng.integers(len(ramp))] * rng.uniform(0.5, 1.4)
        red, green, blue = (int(v) for v in np.clip(colour * 255, 0, 255))
        draw.ellipse(box, fill=(red, green, blue, int(rng.uniform(30, 130))))
    discs = np.asarray(image.reduce(2), np.float32) / np.float32(255)
    return SceneBackground(np.clip(colours + 0.6 * discs, 0, 1.2), [base])


_BACKGROUNDS: tuple[tuple[Callable[[Shape, np.random.Generator], SceneBackground], float], ...] = (
    (habitat, 1.0), (plain, 1.2), (horizon, 2.2), (room, 1.5), (patches, 1.6), (streets, 1.3),
    (thicket, 1.0), (lights, 0.6),
)  # fmt: skip


def _any_ramp(rng: np.random.Generator) -> Ramp:
    return natural_ramp(rng) if rng.random() < 0.7 else vivid_ramp(rng)


def _profile(width: int, rng: np.random.Generator, slope: float) -> Field:
    """A random profile across the image: mean 0, standard deviation 1."""
    return np.asarray(cloud((32, width), rng, slope)[0], np.float32)


def _stepped(line: Field, rng: np.random.Generator) -> Field:
    """A line of roofs: level, with steps."""
    edges = np.sort(rng.integers(0, len(line), int(rng.integers(5, 20))))
    block = np.searchsorted(edges, np.arange(len(line)))
    means = np.bincount(block, line) / np.maximum(np.bincount(block), 1)
    return np.asarray(means[block], np.float32)


def _below(colours: Colours, other: Colours, y: Field, line: Field) -> Colours:
    inside = np.clip(y - line[None, :], 0, 1)[..., None]
    return np.asarray(colours * (1 - inside) + other * inside, np.float32)


def _receding(colours: Colours, level: float) -> Colours:
    """A surface in perspective: ground from the lower border to a horizon at row `level`."""
    height, width = colours.shape[:2]
    first = int(np.clip(level - 0.06 * height, 0, height - 2))
    # Row 0 of the ground is as painted; at the lower border everything is 3.5 times as large.
    growth = 2.5 / (height - first)
    middle = width / 2
    # Pillow's a to h: the source is ((a x + b y + c) / (g x + h y + 1), (d x + e y + f) / ...).
    coefficients = (1.0, middle * growth, 0.0, 0.0, 0.0, height - 1.0, 0.0, growth)
    eight_bit = Image.fromarray((np.clip(colours, 0, 1) * 255).astype(np.uint8))
    ground = eight_bit.transform(
        (width, height - first),
        Image.Transform.PERSPECTIVE,
        coefficients,
        Image.Resampling.BILINEAR,
    )
    colours = colours.copy()
    colours[first:] = np.asarray(ground, np.float32) / np.float32(255)
    return colours


def _panel(colours: Colours, rng: np.random.Generator, level: float) -> None:
    """Draw a flat frame, door, window or shelf on a wall, into `colours`."""
    height, width = colours.shape[:2]
    left, top = rng.uniform(-0.2, 0.9) * width, rng.uniform(-0.3, 0.6) * level
    wide, high = rng.uniform(0.08, 0.4) * width, rng.uniform(0.1, 0.8) * level
    rows, columns = _span(top, high, height), _span(left, wide, width)
    if colours[rows, columns].size == 0:
        return
    material = random_material(rng, MADE, _any_ramp(rng))
    size = (max(16, rows.stop - rows.start), max(16, columns.stop - columns.start))
    tone = colours.mean((0, 1))
    sample = material.paint(size, rng) * 0.6 + 0.4 * tone
    colours[rows, columns] = 0.7 * tone
    rim = max(1, int(0.01 * width))
    # Nothing is inside the rim of a thin panel: an end below 0 would count from the other side.
    inner = (
        slice(rows.start + rim, max(0, rows.stop - rim)),
        slice(columns.start + rim, max(0, columns.stop - rim)),
    )
    part = colours[inner].shape[:2]
    colours[inner] = sample[: part[0], : part[1]]


def _span(start: float, length: float, limit: int) -> slice:
    first = int(np.clip(start, 0, limit))
    return slice(first, int(np.clip(start + length, first, limit)))
