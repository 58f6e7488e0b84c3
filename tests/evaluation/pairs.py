"""Random masks and truths, with the cases at the edge that the metrics treat apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

Mask = NDArray[np.uint8]


def random_truth(generator: np.random.Generator, shape: tuple[int, int]) -> Mask:
    """Blobs of 0 and 255, away from the image's end: always some of both."""
    field = gaussian_filter(generator.standard_normal(shape), 4)
    truth = np.where(field > np.median(field), 255, 0).astype(np.uint8)
    truth[-2:] = truth[:, -2:] = 0
    return truth


def random_pair(generator: np.random.Generator) -> tuple[Mask, Mask]:
    """A prediction and a truth of one random shape."""
    height, width = (int(n) for n in generator.integers(20, 80, 2))
    truth = random_truth(generator, (height, width))
    noise = generator.integers(0, 60, truth.shape)
    return np.clip(0.7 * gaussian_filter(truth.astype(float), 2) + noise, 0, 255).astype(
        np.uint8
    ), truth


def pairs_of_all_kinds(count: int) -> list[tuple[Mask, Mask]]:
    """Predictions and truths; half of them have an end of some kind."""
    generator = np.random.default_rng(0)
    found = []
    for index in range(count):
        prediction, truth = random_pair(generator)
        match index % 16:
            case 0:
                truth[:] = 0
            case 1:
                truth[:] = 255
            case 2:
                prediction[:] = 0
            case 3:
                prediction[:] = 0
                truth[:] = 0
            case 4:
                prediction[:] = 255
                truth[:] = 255
            case 5:
                prediction[:] = 77  # constant, and so not stretched
            case 6:
                truth = generator.integers(0, 256, truth.shape, dtype=np.uint8)  # grey
            case 7:
                prediction = generator.integers(100, 140, truth.shape, dtype=np.uint8)
        found.append((prediction, truth))
    return found


def write_dataset(folder: Path, generator: np.random.Generator, count: int) -> None:
    """FOLDER/Image, FOLDER/Mask and FOLDER/Predicted, all of one size in each scene."""
    for name in ("Image", "Mask", "Predicted"):
        (folder / name).mkdir()
    for index in range(count):
        prediction, truth = random_pair(generator)
        if index == 2:  # a bad one
            prediction = 255 - prediction
        image = np.clip(
            truth[..., None] * 0.5 + generator.integers(0, 99, (*truth.shape, 3)), 0, 255
        )
        stem = f"scene{index}"
        Image.fromarray(image.astype(np.uint8)).save(folder / "Image" / f"{stem}.jpg")
        Image.fromarray(truth).save(folder / "Mask" / f"{stem}.png")
        Image.fromarray(prediction).save(folder / "Predicted" / f"{stem}.png")
