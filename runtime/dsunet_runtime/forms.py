"""Pre- and postprocessing in the runtime, for the frames form and the tensors form."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsunet_runtime.artifact.manifest import (
    InputForm,
    Manifest,
    MaskForm,
    Preprocessing,
    TensorSpec,
)
from dsunet_runtime.artifact.shapes import input_ranges
from dsunet_runtime.backends.interface import Tensors
from dsunet_runtime.errors import ArtifactError, BackendError, ImageError
from dsunet_runtime.images.decode import ImageLike, decode_image, encoder_input
from dsunet_runtime.masks.blank_masks import NOT_FINITE
from dsunet_runtime.masks.mask_from_logits import highest_level, mask_from_logits
from dsunet_runtime.message_text import printable, quote, shorten


@dataclass(frozen=True, slots=True)
class Prepared:
    """A decoded image with the network's inputs."""

    rgb: NDArray[np.uint8]
    """The upright image, H×W×3, 0 to 255."""
    inputs: Tensors
    """The network's inputs by name, without the batch axis."""
    is_first_of_several: bool = False
    """Whether the file has several frames, of which the first is used."""
    icc_profile: bytes | None = None
    """ICC profile of the values of `rgb`; None for sRGB."""


class Form(ABC):
    """Pre- and postprocessing of one image.  Safe to use from any thread."""

    def read(self, image: ImageLike) -> Prepared:
        """Decode an image and preprocess it.  Errors of files begin with the file's name."""
        try:
            decoded = decode_image(image)
            prepared = self.prepare(decoded.rgb)
            return replace(
                prepared,
                is_first_of_several=decoded.header.is_first_of_several,
                icc_profile=decoded.icc_profile,
            )
        except ImageError as error:
            if isinstance(image, str | os.PathLike):
                raise ImageError(f"{os.fspath(image)}: {error}") from error
            raise

    @abstractmethod
    def prepare(self, rgb: NDArray[np.uint8]) -> Prepared:
        """Preprocess an image H×W×3.  Raises ImageError if its size is not supported."""

    @abstractmethod
    def finish(self, outputs: Tensors, prepared: Prepared) -> NDArray[np.uint8]:
        """Compute the mask (uint8, H×W) from the outputs of one image, without batch axis."""

    @abstractmethod
    def highest_level(self, outputs: Tensors) -> int | None:
        """Return the highest probability in the mask of one image, 0 to 255.

        None if it is unknown, because the graph computes a stretched mask.
        """


def form_of(manifest: Manifest) -> Form:
    """Return the form of a manifest.  Raises ArtifactError if its tensors do not fit the form."""
    match manifest.input_form:
        case InputForm.FRAMES:
            return Frames(manifest)
        case InputForm.TENSORS:
            _check_names(manifest.inputs, set(manifest.preprocessing.sizes))
            _check_names(manifest.outputs, {"logits"})
            _check_encoder_tensors(manifest)
            return EncoderTensors(manifest.preprocessing, manifest.mask_form)


class Frames(Form):
    """The frames form: the graph contains pre- and postprocessing."""

    def __init__(self, manifest: Manifest) -> None:
        _check_names(manifest.inputs, {"image"})
        _check_names(manifest.outputs, {"mask"})
        (image,), (mask,) = manifest.inputs, manifest.outputs
        _check_tensor(image, "uint8", (*image.shape[:3], 3))
        _check_tensor(mask, "uint8", image.shape[:3])
        self._has_probabilities = manifest.mask_form is MaskForm.PROBABILITY
        self._height, self._width = input_ranges(manifest)["image"][1:3]
        self._remedy = (
            "export with `--size dynamic`"
            if manifest.engine is None
            else "build the engine with another `--size`"
        )

    def prepare(self, rgb: NDArray[np.uint8]) -> Prepared:
        height, width, _ = rgb.shape
        if width not in self._width or height not in self._height:
            raise ImageError(
                f"the image is {width}×{height} (width×height) and this artifact takes "
                f"{self._width}×{self._height}: resize the image, or {self._remedy}"
            )
        return Prepared(rgb, {"image": rgb})

    def finish(self, outputs: Tensors, prepared: Prepared) -> NDArray[np.uint8]:
        return outputs["mask"]

    def highest_level(self, outputs: Tensors) -> int | None:
        return int(outputs["mask"].max()) if self._has_probabilities else None


class EncoderTensors(Form):
    """The tensors form: the runtime does pre- and postprocessing."""

    def __init__(self, preprocessing: Preprocessing, mask_form: MaskForm) -> None:
        self._preprocessing = preprocessing
        self._mask_form = mask_form

    def prepare(self, rgb: NDArray[np.uint8]) -> Prepared:
        mean, std = self._preprocessing.mean, self._preprocessing.std
        sizes = self._preprocessing.sizes.items()
        return Prepared(rgb, {name: encoder_input(rgb, side, mean, std) for name, side in sizes})

    def finish(self, outputs: Tensors, prepared: Prepared) -> NDArray[np.uint8]:
        logits: NDArray[Any] = outputs["logits"][0]
        if not np.isfinite(logits).all():
            raise BackendError(f"the network computed logits that are not finite: {NOT_FINITE}")
        height, width, _ = prepared.rgb.shape
        return mask_from_logits(logits.astype(np.float32), (height, width), self._mask_form)

    def highest_level(self, outputs: Tensors) -> int | None:
        return highest_level(outputs["logits"][0].astype(np.float32))


def _check_encoder_tensors(manifest: Manifest) -> None:
    sizes = manifest.preprocessing.sizes
    (logits,) = manifest.outputs
    batch = logits.shape[0]
    for spec in manifest.inputs:
        _check_tensor(spec, "float32", (batch, 3, sizes[spec.name], sizes[spec.name]))
    side = sizes.get("hiera", 0)
    _check_tensor(logits, "float32", (batch, 1, side, side))


def _check_tensor(spec: TensorSpec, dtype: str, shape: tuple[int | str, ...]) -> None:
    """Check type and shape, which determine the memory of an engine's outputs."""
    if (spec.dtype, spec.shape) != (dtype, shape):
        raise ArtifactError(
            f"the manifest's {quote(spec.name)} is {printable(spec.dtype)} of shape "
            f"{quote(spec.shape)}, where its form has {dtype} of shape {quote(shape)}: export again"
        )


def _check_names(specs: tuple[TensorSpec, ...], expected: set[str]) -> None:
    names = {spec.name for spec in specs}
    if names != expected:
        raise ArtifactError(
            f"the manifest names tensors {shorten(sorted(names), 4)} where its form has "
            f"{shorten(sorted(expected), 4)}: export again"
        )
