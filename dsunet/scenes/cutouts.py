"""Objects from cut-outs, scaled, rotated, and matched to the background or camouflaged in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dsunet.scenes.background import SceneBackground
from dsunet.scenes.fields import (
    LUMINANCE,
    Colours,
    Field,
    Shape,
    blurred,
    blurred_colours,
    smoothstep,
)
from dsunet.scenes.image_sources import read_cutout
from dsunet.scenes.light import Light, facing, half_thickness, lit, rounded
from dsunet.scenes.materials import Material
from dsunet.scenes.objects import Body

_RELIEF = 0.4  # relative to drawn objects: photographs have their own shading
_TURNED = 0.15  # fraction at any angle; the others stand nearly upright
_SOLID = 0.9  # alpha above which a pixel has colours of the object only


@dataclass(frozen=True, slots=True)
class CutoutBody(Body):
    """A cut-out in the image, with its own colours H×W×3, or those of a material."""

    colours: Colours
    material: Material | None
    """The material that camouflages it, if any."""
    source: Path

    def paint(self, rng: np.random.Generator, light: Light, relief: float) -> Colours:
        """Paint the surface H×W×3 in this light; it is valid only inside the body."""
        colours = self.colours if self.material is None else self._covered(self.material, rng)
        towards = facing(rounded(self.coverage, self.half_thickness), self.half_thickness, light)
        return lit(colours, towards, light, _RELIEF * relief, gloss=0.0)

    def _covered(self, material: Material, rng: np.random.Generator) -> Colours:
        """A material with the shading of the cut-out, and a trace of its colours."""
        shape = (self.coverage.shape[0], self.coverage.shape[1])
        grey = self.colours @ LUMINANCE
        mean = float((grey * self.coverage).sum() / max(self.coverage.sum(), 1))
        shading = np.clip((grey + 0.2) / (mean + 0.2), 0.5, 1.7) ** np.float32(rng.uniform(0.4, 1))
        surface = material.paint(shape, rng) * shading[..., None]
        return np.asarray(surface + (self.colours - surface) * rng.uniform(0, 0.2), np.float32)


def place_cutout(
    rng: np.random.Generator,
    background: SceneBackground,
    source: Path,
    fraction: float,
    column: float,
    room: float,
    material: Material | None,
) -> CutoutBody:
    """Place the cut-out of a file so that it covers about `fraction` of the image.

    It is centred near `column`, 0 (left) to 1 (right), and at most `room` times as high and wide as
    the image.  With a `material`, it is camouflaged: it takes that one's colours and texture.
    """
    height, width = background.colours.shape[:2]
    limits = (round(room * height), round(room * width))
    image = _posed(rng, read_cutout(source), fraction * height * width, limits)
    left = width * column - image.width / 2
    top = height * rng.normal(0.52, 0.1) - image.height / 2
    canvas = Image.new("RGBa", (width, height))
    canvas.paste(image, (round(left), round(top)))
    premultiplied = np.asarray(canvas, np.float32) / np.float32(255)
    alpha = premultiplied[..., 3]
    coverage = _feathered(alpha, rng.uniform(0.3, 1.1))
    colours = _to_the_edge(premultiplied[..., :3], alpha)
    if material is None:
        colours = _matched(colours, coverage, background.colours, amount=rng.uniform(0, 0.5))
    return CutoutBody(coverage, half_thickness(coverage), colours, material, source)


def _posed(
    rng: np.random.Generator, cutout: Image.Image, area: float, limits: Shape
) -> Image.Image:
    """Mirror, squeeze, scale and rotate a cut-out; returns mode RGBa, alpha premultiplied."""
    image = cutout.convert("RGBa")
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    squeeze = float(np.exp(rng.normal(0, 0.08)))
    angle = rng.uniform(-180, 180) if rng.random() < _TURNED else rng.normal(0, 7)
    cos, sin = abs(np.cos(np.radians(angle))), abs(np.sin(np.radians(angle)))
    opaque = float(np.asarray(image.getchannel("a"), np.float32).sum()) / 255
    scale = np.sqrt(area / opaque)
    wide, high = image.width * squeeze, image.height / squeeze
    scale = min(scale, limits[0] / (wide * sin + high * cos), limits[1] / (wide * cos + high * sin))
    size = (max(1, round(wide * scale)), max(1, round(high * scale)))
    image = image.resize(size, Image.Resampling.BICUBIC)
    return image.rotate(float(angle), Image.Resampling.BICUBIC, expand=True)


def _feathered(alpha: Field, sigma: float) -> Field:
    """Coverage with a soft edge, slightly inside the old one: it has no old background."""
    return smoothstep(blurred(alpha, sigma), 0.25, 0.9)


def _to_the_edge(premultiplied: Colours, alpha: Field) -> Colours:
    """Colours of the object, extrapolated to its edge, where an old background mixed with them."""
    solid = (alpha > _SOLID).astype(np.float32)
    own = premultiplied / np.maximum(alpha, np.float32(1e-3))[..., None]
    weight = blurred(solid, 1.5)
    near = blurred_colours(own * solid[..., None], 1.5)
    continued = near / np.maximum(weight, np.float32(1e-3))[..., None]
    inside = np.where(weight > 0.02, solid, 1.0)[..., None]
    return np.asarray(np.clip(continued + (own - continued) * inside, 0, 1), np.float32)


def _matched(colours: Colours, coverage: Field, around: Colours, amount: float) -> Colours:
    """Bring the mean colour of an object closer to that of its background, by `amount`, 0 to 1."""
    total = max(float(coverage.sum()), 1.0)
    own = (colours * coverage[..., None]).sum((0, 1)) / total
    gain = np.clip((around.mean((0, 1)) + 0.05) / (own + 0.05), 0.4, 2.5) ** amount
    return np.asarray(colours * gain, np.float32)
