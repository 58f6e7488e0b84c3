"""The input image of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dsunet_runtime.artifact.manifest import InputForm, Manifest
from dsunet_runtime.artifact.shapes import input_ranges
from dsunet_runtime.files import write_whole

DEFAULT_SIZE = (720, 1280)
"""Default height and width of the input image."""


def make_image(path: Path, size: tuple[int, int]) -> Path:
    """Write a deterministic JPEG of `size` (height, width) with smooth and textured regions."""
    height, width = size
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[0:height, 0:width]
    smooth = np.stack([rows / height, columns / width, (rows + columns) / (height + width)], -1)
    coarse = generator.random((1 + height // 16, 1 + width // 16, 3))
    textured = coarse.repeat(16, 0).repeat(16, 1)[:height, :width]
    pixels: NDArray[np.uint8] = (255 * (0.7 * smooth + 0.3 * textured)).astype(np.uint8)
    write_whole(path, lambda file: Image.fromarray(pixels).save(file, "JPEG", quality=90))
    return path


def size_for(manifests: Sequence[Manifest]) -> tuple[int, int]:
    """Return the height and width that the artifacts require; dynamic ones as in DEFAULT_SIZE."""
    for manifest in manifests:
        if manifest.input_form is InputForm.FRAMES:
            sides = input_ranges(manifest)["image"][1:3]
            if any(side.maximum is not None for side in sides):
                height, width = (
                    usual if side.maximum is None else side.optimum
                    for side, usual in zip(sides, DEFAULT_SIZE, strict=True)
                )
                return height, width
    return DEFAULT_SIZE
