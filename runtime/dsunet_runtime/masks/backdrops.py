"""Backdrops of an object: a colour, an image, or the blurred background of the object."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageOps

from dsunet_runtime.errors import ImageError
from dsunet_runtime.images.decode import read_rgb
from dsunet_runtime.message_text import quote

BLUR = "blur"

_SIGMA = 1 / 50
"""Standard deviation of the blur, as a fraction of the longer side."""
_REDUCED_SIGMA = 4
"""Standard deviation of the blur in the reduced image, in pixels."""


class Backdrop(Protocol):
    """A new background for an object.  Instances can be pickled, and used from any thread."""

    def draw(self, rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the backdrop, H×W×3, for an image H×W×3 and the alpha of its object, H×W."""


@dataclass(frozen=True, slots=True)
class ColourBackdrop:
    """One colour: red, green and blue, 0 to 255."""

    rgb: tuple[int, int, int]

    def draw(self, rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.full_like(rgb, self.rgb)


@dataclass(frozen=True, slots=True, eq=False)
class ImageBackdrop:
    """An image H×W×3, scaled to fill the other one and cropped equally on both sides."""

    pixels: NDArray[np.uint8]

    def draw(self, rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return _filling(self, alpha.shape[1], alpha.shape[0])


@dataclass(frozen=True, slots=True)
class BlurBackdrop:
    """The blurred background of the image, without the colours of the object."""

    def draw(self, rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = alpha.shape
        factor = max(1, round(max(height, width) * _SIGMA / _REDUCED_SIGMA))
        kernel = _gaussian(max(height, width) * _SIGMA / factor)
        weight = (255 - alpha).astype(np.float32)
        sums = _blurred(_reduced(weight, factor), kernel)
        sums[sums == 0] = 1  # no background is near, and so none is visible
        box = (0, 0, width / factor, height / factor)
        result = np.empty_like(rgb)
        for channel in range(3):
            plane = _blurred(_reduced(weight * rgb[..., channel], factor), kernel) / sums
            large = Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC, box)
            result[..., channel] = np.clip(np.asarray(large) + 0.5, 0, 255)
        return result


def parse_backdrop(text: str) -> Backdrop:
    """Return the backdrop that a text names: `blur`, a colour, or the path of an image.

    Raises ImageError if it is none of them, or the image cannot be read.
    """
    if text == BLUR:
        return BlurBackdrop()
    path = Path(text)
    if not path.is_file():
        try:
            red, green, blue = ImageColor.getrgb(text)[:3]
        except ValueError:
            pass
        else:
            return ColourBackdrop((red, green, blue))
    if not path.exists() and path.parent == Path() and not path.suffix:
        raise ImageError(
            f"{quote(text)} is neither a colour (a name such as white, or #rrggbb), nor an image "
            f"file, nor {BLUR}"
        )
    return ImageBackdrop(read_rgb(path))


@lru_cache(maxsize=2)
def _filling(backdrop: ImageBackdrop, width: int, height: int) -> NDArray[np.uint8]:
    image = Image.fromarray(backdrop.pixels)
    fitted = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    return np.asarray(fitted, np.uint8)


def _reduced(plane: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Return the means of squares of `factor`×`factor` pixels."""
    return np.asarray(Image.fromarray(plane).reduce(factor), np.float32)


def _gaussian(sigma: float) -> NDArray[np.float32]:
    distance = np.arange(-round(3 * sigma), round(3 * sigma) + 1)
    kernel = np.exp(-(distance**2) / (2 * sigma**2)).astype(np.float32)
    kernel /= kernel.sum()
    return kernel


def _blurred(plane: NDArray[np.float32], kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convolve rows and columns; beyond its border the plane is 0."""
    for _ in range(2):
        rows, margin = len(plane), len(kernel) // 2
        padded = np.pad(plane, ((margin, margin), (0, 0)))
        plane = np.zeros_like(plane)
        for start, factor in enumerate(kernel):
            plane += factor * padded[start : start + rows]
        plane = plane.T
    whole: NDArray[np.float32] = np.ascontiguousarray(plane)
    return whole
