"""The materials of an object's parts, chosen for its background."""

from __future__ import annotations

import numpy as np

from dsunet.scenes.background import SceneBackground
from dsunet.scenes.figures import Role
from dsunet.scenes.materials import Material, random_material
from dsunet.scenes.palettes import distance, fur_ramp, natural_ramp, skin_ramp, vivid_ramp
from dsunet.scenes.textures import ANY, COAT, MADE, smooth

PartMaterials = dict[Role, Material]
"""The material of each role."""

_CONTRAST = (0.1, 0.25)
_CAMOUFLAGE = (0.3, 0.6)


def camouflaged_materials(rng: np.random.Generator, background: SceneBackground) -> PartMaterials:
    """Choose variants of the background's material, in scale, direction, brightness and colour."""
    main = camouflage_material(rng, background)
    second = camouflage_material(rng, background)
    dark = main.related(rng, 0.7)
    return dict.fromkeys(Role, main) | {
        Role.SECOND: second,
        Role.DARK: dark,
    }


def camouflage_material(rng: np.random.Generator, background: SceneBackground) -> Material:
    """Vary the background's most prominent material slightly."""
    return background.materials[0].related(rng, rng.uniform(*_CAMOUFLAGE))


def salient_materials(rng: np.random.Generator, background: SceneBackground) -> PartMaterials:
    """Choose a material that stands out, and others, which may match it."""
    main = _outstanding(rng, background)
    if rng.random() < 0.5:
        second, third = main.related(rng, 0.5), main.related(rng, 0.8)
    else:
        second = random_material(rng, COAT, fur_ramp(rng))
        third = random_material(rng, MADE, vivid_ramp(rng))
    dark = random_material(rng, (smooth,), skin_ramp(rng) * np.float32(0.2))
    skin = random_material(rng, (smooth,), skin_ramp(rng))
    return {
        Role.MAIN: main, Role.SECOND: second, Role.THIRD: third, Role.SKIN: skin,
        Role.DARK: dark,
    }  # fmt: skip


def _outstanding(rng: np.random.Generator, background: SceneBackground) -> Material:
    """A material in colours that the background does not have."""
    sample = background.colours[::8, ::8]
    ramps = (fur_ramp, vivid_ramp, natural_ramp)
    wanted = rng.uniform(*_CONTRAST)
    candidates = [ramps[rng.integers(3)](rng) for _ in range(8)]
    apart = [distance(ramp, sample) for ramp in candidates]
    # The first that is far enough, else the farthest: not always the most striking.
    index = next((i for i, d in enumerate(apart) if d > wanted), int(np.argmax(apart)))
    return random_material(rng, COAT if rng.random() < 0.6 else ANY, candidates[index])
