"""Renderings of an image with its mask: masks, cut-outs, other backgrounds, overlays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from dsunet_runtime.masks.backdrops import Backdrop
from dsunet_runtime.masks.foreground import foreground, opacity
from dsunet_runtime.masks.mask_from_logits import MASK_THRESHOLD

# Cyan contrasts with tissue and with foliage.
_COLOUR = (0, 200, 255)
_OPACITY = 0.5


class Rendering(Protocol):
    """A way to show a mask.  Instances are immutable, can be pickled, and used from any thread."""

    @property
    def name(self) -> str:
        """`mask`, `binary`, `cutout`, `background` or `overlay`."""

    @property
    def channels(self) -> int:
        """1: grey; 3: RGB; 4: RGB and alpha, not premultiplied."""

    def __call__(self, rgb: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Draw the rendering.

        Args:
            rgb: Image, H×W×3, 0 to 255.
            mask: H×W, 0 (outside) to 255 (inside).

        Returns:
            H×W for one channel, otherwise H×W×3 or H×W×4, 0 to 255.
        """


@dataclass(frozen=True, slots=True)
class Mask:
    """The mask itself."""

    name = "mask"
    channels = 1

    def __call__(self, rgb: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return mask


@dataclass(frozen=True, slots=True)
class Binary:
    """A mask of 0 and 255: 255 where the mask is at or above a threshold.

    Args:
        threshold: 1 to 255; None for Otsu's threshold of each mask.
    """

    threshold: int | None = MASK_THRESHOLD
    name = "binary"
    channels = 1

    def __call__(self, rgb: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        threshold = otsu(mask) if self.threshold is None else self.threshold
        return np.where(mask >= threshold, 255, 0).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Cutout:
    """The object with the opacity of its mask as alpha, in its own colours (see `foreground`)."""

    name = "cutout"
    channels = 4

    def __call__(self, rgb: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        alpha = opacity(mask)
        return np.dstack([foreground(rgb, alpha), alpha])


@dataclass(frozen=True, slots=True)
class Background:
    """The object, in its own colours (see `foreground`), over another background.

    Args:
        backdrop: The other background.
    """

    backdrop: Backdrop
    name = "background"
    channels = 3

    def __call__(self, rgb: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return self.compose(rgb, Cutout()(rgb, mask))

    def compose(self, rgb: NDArray[np.uint8], cutout: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Draw the rendering, H×W×3, from an image and its cut-out, H×W×4."""
        colours, alpha = np.ascontiguousarray(cutout[..., :3]), cutout[..., 3].copy()
        backdrop = Image.fromarray(self.backdrop.draw(rgb, alpha))
        backdrop.paste(Image.fromarray(colours), mask=Image.fromarray(alpha))
        return np.asarray(backdrop)


@dataclass(frozen=True, slots=True)
class Overlay:
    """The image, tinted where the mask is bright, with a contour where the mask crosses 128."""

    name = "overlay"
    channels = 3

    def __call__(self, rgb: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        drawn = Image.fromarray(rgb).copy()
        tint = Image.fromarray(mask).point(lambda value: value * _OPACITY)
        drawn.paste(_COLOUR, mask=tint)
        drawn.paste(_COLOUR, mask=_contour(mask))
        return np.asarray(drawn)


def draw_renderings(
    renderings: Iterable[Rendering], rgb: NDArray[np.uint8], mask: NDArray[np.uint8]
) -> Iterator[NDArray[np.uint8]]:
    """Yield renderings of one image; the object's colours are estimated once for all of them."""
    cutout = cache(lambda: Cutout()(rgb, mask))
    for rendering in renderings:
        match rendering:
            case Cutout():
                yield cutout()
            case Background():
                yield rendering.compose(rgb, cutout())
            case _:
                yield rendering(rgb, mask)


def otsu(mask: NDArray[np.uint8]) -> int:
    """Return Otsu's threshold of a mask: pixels at or above it are inside.

    It maximises the variance between the two classes of pixels (Otsu, 1979).  If several thresholds
    do, it is the lowest.  For a mask of a single level it is 128.
    """
    levels = np.arange(256)
    counts = np.bincount(mask.ravel(), minlength=256)
    below, sum_below = np.cumsum(counts)[:-1], np.cumsum(counts * levels)[:-1]
    above, sum_above = mask.size - below, np.sum(counts * levels) - sum_below
    with np.errstate(invalid="ignore", divide="ignore"):  # one of the classes is empty
        variance = below * above * (sum_above / above - sum_below / below) ** 2.0
    variance = np.nan_to_num(variance)
    return int(variance.argmax()) + 1 if variance.any() else MASK_THRESHOLD


def _contour(mask: NDArray[np.uint8]) -> Image.Image:
    """Return 255 near the border of the object, else 0; the line is wider in larger images."""
    radius = max(1, round(min(mask.shape) / 400))
    inside = Image.fromarray(np.where(mask >= MASK_THRESHOLD, 255, 0).astype(np.uint8))
    # The mean in a box is between 0 and 255 only where the box crosses the border.
    return inside.filter(ImageFilter.BoxBlur(radius)).point(lambda v: 255 if 0 < v < 255 else 0)
