"""Wardrobes: the materials of an object's parts, chosen for its background."""

from __future__ import annotations

import numpy as np

from dsunet.scenes.backgrounds import Background
from dsunet.scenes.figures import Stuff
from dsunet.scenes.materials import Material, random_material
from dsunet.scenes.palettes import distance, fur_ramp, natural_ramp, skin_ramp, vivid_ramp
from dsunet.scenes.patterns import ANY, COAT, MADE, smooth

Wardrobe = dict[Stuff, Material]

_CONTRAST = (0.1, 0.25)
_DISGUISE = (0.3, 0.6)


def camouflaged_wardrobe(rng: np.random.Generator, background: Background) -> Wardrobe:
    """The background's material, slightly varied in scale, direction, brightness and colour."""
    main = disguise(rng, background)
    second = disguise(rng, background)
    dark = main.related(rng, 0.7)
    return dict.fromkeys(Stuff, main) | {Stuff.SECOND: second, Stuff.DARK: dark}


def disguise(rng: np.random.Generator, background: Background) -> Material:
    """The background's most prominent material, slightly varied."""
    return background.materials[0].related(rng, rng.uniform(*_DISGUISE))


def salient_wardrobe(rng: np.random.Generator, background: Background) -> Wardrobe:
    """A material that stands out, and other materials, which may match it."""
    main = _outstanding(rng, background)
    if rng.random() < 0.5:
        second, third = main.related(rng, 0.5), main.related(rng, 0.8)
    else:
        second = random_material(rng, COAT, fur_ramp(rng))
        third = random_material(rng, MADE, vivid_ramp(rng))
    dark = random_material(rng, (smooth,), skin_ramp(rng) * np.float32(0.2))
    skin = random_material(rng, (smooth,), skin_ramp(rng))
    return {
        Stuff.MAIN: main, Stuff.SECOND: second, Stuff.THIRD: third, Stuff.SKIN: skin,
        Stuff.DARK: dark,
    }  # fmt: skip


def _outstanding(rng: np.random.Generator, background: Background) -> Material:
    """A material whose colours the background lacks."""
    sample = background.colours[::8, ::8]
    ramps = (fur_ramp, vivid_ramp, natural_ramp)
    wanted = rng.uniform(*_CONTRAST)
    candidates = [ramps[rng.integers(3)](rng) for _ in range(8)]
    apart = [distance(ramp, sample) for ramp in candidates]
    # The first that is far enough, else the farthest: not always the most striking.
    index = next((i for i, d in enumerate(apart) if d > wanted), int(np.argmax(apart)))
    return random_material(rng, COAT if rng.random() < 0.6 else ANY, candidates[index])
