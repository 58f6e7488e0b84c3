"""Whether a network that finds nothing in an image computes numbers at all.

In the form `frames` the graph makes the mask, and what is not a number (NaN) becomes 0 in it.  So a
network with a NaN among its weights gives black masks, where one of the form `tensors` gives logits
that are seen not to be finite.

A stretched mask spans 0 to 255, with two exceptions: an image of a single pixel, and one in which
the network is sure that there is nothing, at less than 1e-10 everywhere.  Such a mask is right and
black.  So a black mask is no proof, but the first one of an artifact is a reason to compute test
images with objects in them.  If those are black as well, the network is at fault.

Of masks of the form `probability` nothing can be said: they are black wherever there is nothing.
Nor is a network found that computes numbers for most images, and none for a few.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from dsunet_runtime.errors import BackendError
from dsunet_runtime.manifest import InputForm, Manifest, MaskForm
from dsunet_runtime.shapes import Range, input_ranges

NOT_NUMBERS = (
    "export it again without `--no-verify`, which compares it with PyTorch; in float16 "
    "`--keep-fp32` keeps more of it in float32"
)
"""What to do about a network that does not compute numbers."""

_SIDE = 256
_FEWEST_PIXELS = 64

PredictMasks = Callable[[Sequence[NDArray[np.uint8]]], Sequence[NDArray[np.uint8]]]
"""From images H×W×3 to their masks."""


class BlankMasks:
    """Looks at the masks of one artifact until one is not blank.  Safe to use from any thread."""

    def __init__(self, manifest: Manifest, compute: PredictMasks) -> None:
        self._compute = compute
        self._size = _test_size(manifest) if _shows(manifest) else None
        """Height and width of test images; None if they would show nothing."""
        self._lock = threading.Lock()
        self._computes: bool | None = None
        """None until a mask shows it."""

    def check(self, mask: NDArray[np.uint8]) -> None:
        """Raise BackendError if this mask is blank and those of test images are as well."""
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
                f"the network does not compute numbers: this mask is blank, and so are those of "
                f"test images with an object: {NOT_NUMBERS}"
            )


def _is_blank(mask: NDArray[np.uint8]) -> bool:
    """Whether a stretched mask does not begin at 0, or does not go on from there."""
    return not mask.any() or bool(mask.all())


def _shows(manifest: Manifest) -> bool:
    return manifest.input_form is InputForm.FRAMES and manifest.mask_form is MaskForm.STRETCHED


def _test_size(manifest: Manifest) -> tuple[int, int] | None:
    """Height and width of test images; None if the artifact takes none of enough pixels."""
    height, width = map(_side, input_ranges(manifest)["image"][1:3])
    return (height, width) if height * width >= _FEWEST_PIXELS else None


def _side(allowed: Range) -> int:
    return max(_SIDE, allowed.minimum) if allowed.maximum is None else allowed.optimum


def _test_images(height: int, width: int) -> list[NDArray[np.uint8]]:
    """A bright disc on a dark background, and noise in blocks.

    At 4K they take a second: they are made when they are needed, which is seldom.
    """
    rows, columns = np.mgrid[0:height, 0:width]
    inside = np.hypot(rows / height - 0.5, columns / width - 0.5) < 0.25
    disc = np.where(inside[..., None], (230, 160, 40), (30, 60, 50)).astype(np.uint8)
    blocks = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    noise = blocks[rows * 9 // height, columns * 9 // width]
    return [disc, noise]
