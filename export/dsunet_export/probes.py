"""Sample images for verification and calibration, and their conversion to graph inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dsunet.errors import message_with_list
from dsunet_runtime.artifact.manifest import IMAGENET_MEAN, IMAGENET_STD, InputForm, Manifest
from dsunet_runtime.backends.interface import Tensors
from dsunet_runtime.errors import ImageError
from dsunet_runtime.images.decode import as_rgb, encoder_input, first_frames, read_header
from dsunet_runtime.message_text import counted, readable
from dsunet_runtime.prediction.jobs import images_at, left_out


@dataclass(frozen=True, slots=True)
class Probe:
    """A sample image with its label."""

    label: str
    image: NDArray[np.uint8]
    """H×W×3 RGB."""
    is_noise: bool = False
    """Whether it is random pixels, in which a trained network finds no object."""


def make_probes(size: tuple[int, int] | None) -> list[Probe]:
    """Make two samples, random pixels and a photograph, both of the given height and width.

    The default is the size of the photograph.  Both have one size, so that they fit into one batch.
    """
    with resources.files("dsunet_export").joinpath("assets/chelsea.jpg").open("rb") as file:
        photograph = Image.open(file).convert("RGB")
    height, width = size or (photograph.height, photograph.width)
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return [
        Probe(f"random {width}×{height}", noise, is_noise=True),
        Probe(f"photograph {width}×{height}", _resized(photograph, (height, width))),
    ]


def load_probes(folder: Path, size: tuple[int, int] | None) -> list[Probe]:
    """Load the images of a folder, resized if a height and width are given.

    Raises ImageError if there are none or one cannot be read.
    """
    return [load_probe(path, size) for path in images_at(folder)]


def unused_in_words(folder: Path) -> list[str]:
    """Describe the parts of an image folder that are not used: other files, and further frames.

    Only the files' headers are read.  Raises ImageError with the list of unreadable images.
    """
    of_several, faults = [], []
    for path in images_at(folder):
        try:
            if read_header(path).is_first_of_several:
                of_several.append(path)
        except ImageError as error:
            faults.append(f"{path}: {error}")
    if len(faults) == 1:
        raise ImageError(faults[0])
    if faults:
        unreadable = counted(len(faults), "image")
        raise ImageError(
            message_with_list(
                f"{folder}: {unreadable} cannot be read; repair or remove these", faults
            )
        )
    return [*left_out([folder]), *([first_frames(of_several)] if of_several else [])]


def load_probe(path: Path, size: tuple[int, int] | None) -> Probe:
    """Load one image, resized if a size is given.  Raises ImageError if it cannot be read."""
    try:
        image = as_rgb(path)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    return Probe(readable(path.name), _resized(Image.fromarray(image), size) if size else image)


def _resized(image: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    height, width = size
    return np.asarray(image.resize((width, height)))


@dataclass(frozen=True, slots=True)
class GraphInputs:
    """Form and shapes of the inputs of a graph."""

    form: InputForm
    sizes: Mapping[str, int]
    """Side of each encoder's square input, by name of the tensor."""
    batch: int = 1
    """Batch size; 1 for a dynamic batch."""
    size: tuple[int, int] | None = None
    """Height and width of `frames`; None for dynamic."""

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """Read the inputs of an artifact from its manifest."""
        batch, *rest = manifest.inputs[0].shape
        fixed = [dim for dim in rest[:2] if isinstance(dim, int)]
        frames = manifest.input_form is InputForm.FRAMES
        return cls(
            form=manifest.input_form,
            sizes=manifest.preprocessing.sizes,
            batch=batch if isinstance(batch, int) else 1,
            size=(fixed[0], fixed[1]) if frames and len(fixed) == 2 else None,
        )

    def prepare(self, probe: Probe) -> Tensors:
        """Convert an image to the inputs of the graph, repeated to its batch size."""
        if self.form is InputForm.FRAMES:
            single: Tensors = {"image": probe.image}
        else:
            single = {
                name: encoder_input(probe.image, side, IMAGENET_MEAN, IMAGENET_STD)
                for name, side in self.sizes.items()
            }
        return {name: np.repeat(value[None], self.batch, 0) for name, value in single.items()}
