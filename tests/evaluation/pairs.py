"""Random masks and ground truths, with the edge cases that the metrics treat separately."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

Mask = NDArray[np.uint8]


def random_ground_truth(generator: np.random.Generator, shape: tuple[int, int]) -> Mask:
    """Blobs of 0 and 255, away from the image's end: always some of both."""
    field = gaussian_filter(generator.standard_normal(shape), 4)
    ground_truth = np.where(field > np.median(field), 255, 0).astype(np.uint8)
    ground_truth[-2:] = ground_truth[:, -2:] = 0
    return ground_truth


def random_pair(generator: np.random.Generator) -> tuple[Mask, Mask]:
    """A prediction and a ground truth of one random shape."""
    height, width = (int(n) for n in generator.integers(20, 80, 2))
    ground_truth = random_ground_truth(generator, (height, width))
    noise = generator.integers(0, 60, ground_truth.shape)
    return np.clip(0.7 * gaussian_filter(ground_truth.astype(float), 2) + noise, 0, 255).astype(
        np.uint8
    ), ground_truth


def pairs_of_all_kinds(count: int) -> list[tuple[Mask, Mask]]:
    """Predictions and ground truths; half of them are an edge case."""
    generator = np.random.default_rng(0)
    found = []
    for index in range(count):
        prediction, ground_truth = random_pair(generator)
        match index % 16:
            case 0:
                ground_truth[:] = 0
            case 1:
                ground_truth[:] = 255
            case 2:
                prediction[:] = 0
            case 3:
                prediction[:] = 0
                ground_truth[:] = 0
            case 4:
                prediction[:] = 255
                ground_truth[:] = 255
            case 5:
                prediction[:] = 77  # constant, and so not stretched
            case 6:
                ground_truth = generator.integers(
                    0, 256, ground_truth.shape, dtype=np.uint8
                )  # grey
            case 7:
                prediction = generator.integers(100, 140, ground_truth.shape, dtype=np.uint8)
        found.append((prediction, ground_truth))
    return found


def write_dataset(folder: Path, generator: np.random.Generator, count: int) -> None:
    """FOLDER/Image, FOLDER/Mask and FOLDER/Predicted, all of one size in each scene."""
    for name in ("Image", "Mask", "Predicted"):
        (folder / name).mkdir()
    for index in range(count):
        prediction, ground_truth = random_pair(generator)
        if index == 2:  # a bad one
            prediction = 255 - prediction
        image = np.clip(
            ground_truth[..., None] * 0.5 + generator.integers(0, 99, (*ground_truth.shape, 3)),
            0,
            255,
        )
        stem = f"scene{index}"
        Image.fromarray(image.astype(np.uint8)).save(folder / "Image" / f"{stem}.jpg")
        Image.fromarray(ground_truth).save(folder / "Mask" / f"{stem}.png")
        Image.fromarray(prediction).save(folder / "Predicted" / f"{stem}.png")
