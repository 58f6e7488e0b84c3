"""Smoothing, on sequences whose right masks are known."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from dsunet_runtime.video.reader import FrameInfo
from dsunet_runtime.video.smoothing import SegmentedFrame, smooth_masks

Image = NDArray[np.uint8]
HEIGHT, WIDTH = 90, 120


def texture(seed: int, width: int = WIDTH) -> Image:
    """A ground with structure at several scales."""
    generator = np.random.default_rng(seed)
    image = np.zeros((HEIGHT, width, 3))
    for size in (30, 10, 5):
        coarse = generator.uniform(-40, 40, (HEIGHT // size, width // size, 3))
        image += coarse.repeat(size, 0).repeat(size, 1)
    return (image + 120).clip(0, 255).astype(np.uint8)


def run(images: Sequence[Image], masks: Sequence[Image], reach: int) -> list[Image]:
    infos = [FrameInfo(index, 10 * index, 10, None) for index in range(len(images))]
    items = map(SegmentedFrame, infos, images, masks)
    found = list(smooth_masks(items, reach))
    assert [item.info for item in found] == infos
    assert all(item.rgb is image for item, image in zip(found, images, strict=True))
    return [item.mask for item in found]


def noise(seed: int, count: int, amount: int = 40) -> list[NDArray[np.int64]]:
    """What flickers: blobs that differ from frame to frame."""
    generator = np.random.default_rng(seed)
    return [
        generator.integers(-amount, amount + 1, (9, 12)).repeat(10, 0).repeat(10, 1)
        for _ in range(count)
    ]


def flicker(masks: Sequence[Image], movement: int = 0) -> float:
    """Mean change from frame to frame along a movement to the right."""
    changes = [
        np.abs(np.roll(a.astype(int), movement, 1) - b)[:, 20:-20]
        for a, b in itertools.pairwise(masks)
    ]
    return float(np.mean(changes))


@pytest.mark.parametrize("reach", [1, 2, 4])
def test_still_image(reach: int) -> None:
    """The mean of 2 K + 1 masks, up to the flicker of a picture that is the same."""
    count = 20
    images = [texture(1)] * count
    masks = [(128 + n).astype(np.uint8) for n in noise(2, count)]
    found = run(images, masks, reach)
    middle = slice(reach, count - reach)
    means = [np.mean(masks[i - reach : i + reach + 1], axis=0) for i in range(count)[middle]]
    assert np.abs(np.array(found[middle]) - means).max() <= 1
    assert flicker(found[middle]) < 1.3 / (2 * reach + 1) * flicker(masks)


def test_sensor_noise_does_not_prevent_it() -> None:
    generator = np.random.default_rng(3)
    images = [
        (texture(1) + generator.normal(0, 4, (HEIGHT, WIDTH, 3))).clip(0, 255).astype(np.uint8)
        for _ in range(12)
    ]
    masks = [(128 + n).astype(np.uint8) for n in noise(2, 12)]
    assert flicker(run(images, masks, 2)[2:-2]) < 0.4 * flicker(masks)


@pytest.mark.parametrize("step", [1, 3, 9])
def test_camera_that_pans(step: int) -> None:
    wide = texture(4, 600)
    images = [wide[:, 300 - step * i :][:, :WIDTH] for i in range(14)]
    masks = [(128 + n).astype(np.uint8) for n in noise(5, 14)]
    still = flicker(masks, step)
    assert flicker(run(images, masks, 2)[2:-2], step) < 0.45 * still


@pytest.mark.parametrize("step", [1, 5, 15])
def test_object_that_moves_keeps_its_outline(step: int) -> None:
    """No lag, and nothing behind it: right masks stay as they are."""
    ground, coat = texture(6), texture(7)[:30, :24] // 2 + 120
    images, masks = [], []
    for index in range(6):
        image, mask = ground.copy(), np.zeros((HEIGHT, WIDTH), np.uint8)
        place = slice(30, 60), slice(5 + step * index, 29 + step * index)
        image[place], mask[place] = coat, 255
        images.append(image)
        masks.append(mask)
    for found, mask in zip(run(images, masks, 4), masks, strict=True):
        apart = np.abs(found.astype(int) - mask)
        assert apart.mean() < 1.5
        assert ((found >= 128) != (mask >= 128)).mean() < 0.005


@pytest.mark.parametrize("bars", [0, 25])
def test_nothing_bleeds_over_a_cut(bars: int) -> None:
    """Not in black bars either, which are the same before and after."""
    images = [texture(8)] * 5 + [texture(9)] * 5
    for image in images if bars else ():
        image[:bars], image[-bars:] = 0, 0
    masks = [np.full((HEIGHT, WIDTH), 200, np.uint8)] * 5
    masks += [np.full((HEIGHT, WIDTH), 10, np.uint8)] * 5
    for found, mask in zip(run(images, masks, 4), masks, strict=True):
        np.testing.assert_array_equal(found, mask)


def test_change_of_size_is_a_cut() -> None:
    images = [texture(8)] * 3 + [texture(8)[:60]] * 3
    masks = [np.full(image.shape[:2], 60 * i, np.uint8) for i, image in enumerate(images[:3])]
    masks += [
        np.full(image.shape[:2], 255 - 60 * i, np.uint8) for i, image in enumerate(images[3:])
    ]
    found = run(images, masks, 8)
    assert [int(mask.mean()) for mask in found] == [60, 60, 60, 195, 195, 195]


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_fewer_frames_than_the_window(count: int) -> None:
    images = [texture(1)] * count
    masks = [np.full((HEIGHT, WIDTH), 100, np.uint8)] * count
    assert len(run(images, masks, 16)) == count


def test_delay() -> None:
    """A frame is there as soon as K others have come after it."""
    taken = []

    def source() -> Iterator[SegmentedFrame]:
        for index in range(6):
            taken.append(index)
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            yield SegmentedFrame(FrameInfo(index, index, 1, None), texture(1), mask)

    for item in smooth_masks(source(), 2):
        assert max(taken) == min(5, item.info.index + 2)


def test_few_frames_in_memory() -> None:
    alive: list[weakref.ref[Image]] = []

    def source() -> Iterator[SegmentedFrame]:
        for index in range(40):
            image = texture(1)
            alive.append(weakref.ref(image))
            yield SegmentedFrame(FrameInfo(index, index, 1, None), image, image[..., 0].copy())

    for _ in smooth_masks(source(), 2):
        assert sum(reference() is not None for reference in alive) <= 2 * 2 + 3


def test_sizes_above_the_working_size() -> None:
    """Only the change is resampled: sharp edges stay."""
    image = texture(1).repeat(8, 0).repeat(8, 1)
    mask = np.zeros(image.shape[:2], np.uint8)
    mask[100:300, 101:403] = 255
    for found in run([image] * 4, [mask] * 4, 2):
        assert np.abs(found.astype(int) - mask).max() <= 1
