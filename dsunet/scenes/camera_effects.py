"""Camera effects: focus, exposure, colour, noise, compression."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from dsunet.scenes.fields import LUMINANCE, Colours, blurred_colours, side_of, smoothstep
from dsunet.scenes.noise import cloud


def defocused(colours: Colours, sigma: float, sharp_row: float | None) -> Colours:
    """Defocus by `sigma` pixels, except around row `sharp_row` if given."""
    soft = blurred_colours(colours, sigma)
    if sharp_row is None:
        return soft
    height = colours.shape[0]
    away = np.abs(np.arange(height, dtype=np.float32) - np.float32(sharp_row)) / np.float32(height)
    return colours + (soft - colours) * smoothstep(away, 0.04, 0.3)[:, None, None]


def with_camera_effects(colours: Colours, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Apply camera effects; returns an image H×W×3, 0 to 255."""
    colours = _exposed(colours, rng)
    if rng.random() < 0.3:
        colours = _vignetted(colours, strength=rng.uniform(0.1, 0.4))
    if rng.random() < 0.05:
        grey = colours @ LUMINANCE
        colours = np.repeat(grey[..., None], 3, 2)
    if rng.random() < 0.7:
        colours = _noisy(colours, rng)
    return _stored(colours, rng)


def _exposed(colours: Colours, rng: np.random.Generator) -> Colours:
    """Apply a random white balance, exposure and contrast."""
    colours = colours * (1 + 0.06 * rng.standard_normal(3)).astype(np.float32)
    # The exposure of dark and bright images is corrected by half or more.
    wanted = rng.normal(0.45, 0.08)
    colours *= np.float32((wanted / float(colours.mean())) ** rng.uniform(0.4, 0.9))
    gain = np.float32(np.exp(rng.normal(0.05, 0.2)))
    middle = np.float32(colours.mean())
    return (colours - middle) * gain + middle


def _vignetted(colours: Colours, strength: float) -> Colours:
    """Apply vignetting: darker towards the corners."""
    height, width = colours.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    return np.asarray(colours * (1 - strength * (x**2 + y**2) / 2)[..., None], np.float32)


def _noisy(colours: Colours, rng: np.random.Generator) -> Colours:
    """Add noise: fine and coloured as of a sensor, or coarse and grey as of film."""
    shape = (colours.shape[0], colours.shape[1])
    coarse = rng.random() < 0.3
    noise = rng.standard_normal((*shape, 1 if coarse else 3), dtype=np.float32)
    if coarse:
        noise = cloud(shape, rng, 0.4)[..., None]
    return colours + noise * np.float32(rng.exponential(0.015))


def _stored(colours: Colours, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Convert to 8 bits, slightly blurred and mostly JPEG-compressed."""
    image = Image.fromarray((np.clip(colours, 0, 1) * 255).astype(np.uint8))
    blur = rng.uniform(0, 0.0022) * side_of((image.height, image.width))
    image = image.filter(ImageFilter.GaussianBlur(blur))
    if rng.random() < 0.7:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=int(rng.integers(45, 96)))
        image = Image.open(file)
    return np.asarray(image)
