"""Detection of networks that compute NaN, or the same output for every image.

In the frames form the graph computes the mask, in which NaN becomes 0.  A network with NaN in its
weights therefore computes blank masks.  In the tensors form its logits are not finite, which is
checked directly.

A stretched mask spans 0 to 255, with two exceptions, which are correctly black: an image of a
single pixel, and an image whose probabilities are below 1e-10 everywhere.  A blank mask alone
therefore proves nothing.  After the first one of an artifact, the masks of test images with objects
are computed.  If they are blank as well, the network is at fault.

A mask of the form `probability` is black where there is no object, and some networks find none in
the test images either.  It is checked if a self-test reference shows an object in one of them, or
if the artifact was exported with `--no-verify`: a verified artifact did not compute NaN on the
machine that exported it.

If the graph returns logits, a network whose logits are the same at every pixel, also of test
images, is at fault.  Its weights may be all 0.

A network that computes NaN for a few images only is not detected.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dsunet_runtime.artifact.manifest import InputForm, Manifest, MaskForm
from dsunet_runtime.artifact.shapes import Range, input_ranges
from dsunet_runtime.backends.interface import Tensors
from dsunet_runtime.errors import BackendError
from dsunet_runtime.selftest.pictures import picture

NOT_FINITE = (
    "export it again without `--no-verify`, so that it is compared with PyTorch; with `--precision "
    "fp16`, keep more of it in float32 by `--keep-fp32`"
)
"""The remedy for a network that computes NaN or infinity."""

_ALL_BLANK = (
    "the network computes NaN or infinity: this mask is blank, and so are those of test images "
    f"that show an object: {NOT_FINITE}"
)

SAME_LOGITS = (
    "the network's output is the same at every pixel, also of test images with an object, so its "
    "weights are damaged or untrained"
)

_PICTURES = (0, 1)
"""The pictures of the self-test that are the test images."""
_CONTRAST = 64
"""Minimum range of a self-test reference, in levels, so that no mask of its picture is blank."""
_SIDE = 256
_FEWEST_PIXELS = 64

Predict = Callable[[Sequence[NDArray[np.uint8]]], Sequence[Tensors]]
"""Computes the outputs of the network for each of several images H×W×3."""
_IsBlank = Callable[[NDArray[Any]], bool]


class BlankMasks:
    """Checks the outputs of a network until one is not blank.  Safe to use from any thread.

    Args:
        output: Name of the output to check.
        is_blank: Returns whether such an output, without batch axis, is blank.
        size: Height and width of test images; None to check nothing.
        fault: The error message if the outputs for test images are blank as well.
        predict: Computes the outputs of the network.
    """

    def __init__(
        self,
        output: str,
        is_blank: _IsBlank,
        size: tuple[int, int] | None,
        fault: str,
        predict: Predict,
    ) -> None:
        self._output = output
        self._is_blank = is_blank
        self._size = size
        self._fault = fault
        self._predict = predict
        self._lock = threading.Lock()
        self._computes: bool | None = None
        """Whether the network computes usable outputs; None while that is unknown."""

    @classmethod
    def of_artifact(cls, manifest: Manifest, predict: Predict) -> Self:
        """Create the check of an artifact's outputs."""
        if manifest.input_form is InputForm.TENSORS:
            return cls.of_logits(f"{SAME_LOGITS}: export another checkpoint", predict)
        is_stretched = manifest.mask_form is MaskForm.STRETCHED
        is_expected = is_stretched or not manifest.verification or _finds_something(manifest)
        size = _test_size(manifest) if is_expected else None
        return cls("mask", _is_blank if is_stretched else _is_uniform, size, _ALL_BLANK, predict)

    @classmethod
    def of_logits(cls, fault: str, predict: Predict) -> Self:
        """Create the check of finite logits, for images of any size."""
        return cls("logits", _is_uniform, (_SIDE, _SIDE), fault, predict)

    def check(self, outputs: Tensors) -> None:
        """Raise BackendError if the outputs of an image and of the test images are blank."""
        if self._computes or self._size is None:
            return
        if not self._is_blank(outputs[self._output]):
            self._computes = True
            return
        with self._lock:
            if self._computes is None:
                tested = self._predict([picture(number, *self._size) for number in _PICTURES])
                self._computes = not all(self._is_blank(one[self._output]) for one in tested)
        if not self._computes:
            raise BackendError(self._fault)


def _is_blank(mask: NDArray[Any]) -> bool:
    """Whether a stretched mask has no 0, or nothing but 0."""
    return not mask.any() or bool(mask.all())


def _is_uniform(values: NDArray[Any]) -> bool:
    return bool(values.min() == values.max())


def _finds_something(manifest: Manifest) -> bool:
    """Whether a reference proves that the mask of a test image is not blank, at any size."""
    return any(
        case.picture in _PICTURES and max(case.points) - min(case.points) >= _CONTRAST
        for case in manifest.selftest
    )


def _test_size(manifest: Manifest) -> tuple[int, int] | None:
    """Height and width of test images; None if the artifact takes only tiny images."""
    height, width = map(_side, input_ranges(manifest)["image"][1:3])
    return (height, width) if height * width >= _FEWEST_PIXELS else None


def _side(sizes: Range) -> int:
    return max(_SIDE, sizes.minimum) if sizes.maximum is None else sizes.optimum
