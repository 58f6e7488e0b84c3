"""Detection of networks that compute NaN or infinity, by blank masks.

In the frames form the graph computes the mask, in which NaN becomes 0.  So a network with NaN among
its weights computes blank masks, while in the tensors form the logits are visibly not finite.

A stretched mask spans 0 to 255, with two exceptions: an image of a single pixel, and an image
whose probabilities are all below 1e-10.  So a blank mask may be right; but the first one of an
artifact is a reason to run test images that show objects.  If their masks are blank as well, the
network is broken.

Masks of the form `probability` reveal nothing: they are blank for every image without an object.
Networks that fail only for some images are not detected either.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from dsunet_runtime.errors import BackendError
from dsunet_runtime.manifest import InputForm, Manifest, MaskForm
from dsunet_runtime.shapes import Range, input_ranges

NOT_FINITE = (
    "export it again without `--no-verify`, so that it is compared with PyTorch; with `--precision "
    "fp16`, keep more of it in float32 by `--keep-fp32`"
)
"""The remedy for a network that computes NaN or infinity."""

_SIDE = 256
_FEWEST_PIXELS = 64

PredictMasks = Callable[[Sequence[NDArray[np.uint8]]], Sequence[NDArray[np.uint8]]]
"""A function from images (H×W×3) to their masks."""


class BlankMasks:
    """Checks the masks of an artifact until one is not blank.  Safe to use from any thread."""

    def __init__(self, manifest: Manifest, compute: PredictMasks) -> None:
        self._compute = compute
        self._size = _test_size(manifest) if _shows(manifest) else None
        """Height and width of test images; None if the check is not possible."""
        self._lock = threading.Lock()
        self._computes: bool | None = None
        """Whether the network works; None while unknown."""

    def check(self, mask: NDArray[np.uint8]) -> None:
        """Raise BackendError if this mask and those of test images are blank."""
        if self._computes or self._size is None:
            return
        if not _is_blank(mask):
            self._computes = True
            return
        with self._lock:
            if self._computes is None:
                masks = self._compute(_test_images(*self._size))
                self._computes = not all(map(_is_blank, masks))
        if not self._computes:
            raise BackendError(
                f"the network computes NaN or infinity: this mask is blank, and so are those of "
                f"test images that show an object: {NOT_FINITE}"
            )


def _is_blank(mask: NDArray[np.uint8]) -> bool:
    """Whether a stretched mask does not contain both 0 and other values."""
    return not mask.any() or bool(mask.all())


def _shows(manifest: Manifest) -> bool:
    return manifest.input_form is InputForm.FRAMES and manifest.mask_form is MaskForm.STRETCHED


def _test_size(manifest: Manifest) -> tuple[int, int] | None:
    """Height and width of test images; None if the artifact takes only tiny images."""
    height, width = map(_side, input_ranges(manifest)["image"][1:3])
    return (height, width) if height * width >= _FEWEST_PIXELS else None


def _side(allowed: Range) -> int:
    return max(_SIDE, allowed.minimum) if allowed.maximum is None else allowed.optimum


def _test_images(height: int, width: int) -> list[NDArray[np.uint8]]:
    """Create test images: a bright disc on a dark background, and noise in blocks."""
    rows, columns = np.mgrid[0:height, 0:width]
    inside = np.hypot(rows / height - 0.5, columns / width - 0.5) < 0.25
    disc = np.where(inside[..., None], (230, 160, 40), (30, 60, 50)).astype(np.uint8)
    blocks = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    noise = blocks[rows * 9 // height, columns * 9 // width]
    return [disc, noise]
