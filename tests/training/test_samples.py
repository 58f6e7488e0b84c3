from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as vision

from dsunet.data.pairs import Pair, find_pairs
from dsunet.data.samples import FLIPS, BatchPlan, Flip, SampleKey, Samples, random_flip
from dsunet.errors import DataError
from dsunet_runtime.artifact.manifest import IMAGENET_MEAN, IMAGENET_STD
from dsunet_runtime.images.decode import as_rgb, encoder_input

SIDES = {"hiera": 128, "dino": 98}


@pytest.fixture
def pairs(dataset: Path) -> list[Pair]:
    return list(find_pairs(dataset / "Image", dataset / "Mask").pairs)


def test_images_are_resampled_as_for_prediction(pairs: list[Pair]) -> None:
    samples = Samples(pairs, SIDES, seed=0, flips=(0, 0))
    sample = samples[SampleKey(0, 2)]
    rgb = as_rgb(pairs[2].image)
    for name, side in SIDES.items():
        expected = encoder_input(rgb, side, IMAGENET_MEAN, IMAGENET_STD)
        assert np.array_equal(sample[name].numpy(), expected)


def test_masks_are_resampled_as_in_the_published_code(pairs: list[Pair]) -> None:
    samples = Samples(pairs, SIDES, seed=0, flips=(0, 0))
    with Image.open(pairs[1].mask) as mask:
        resized = vision.resize(mask.convert("L"), [128, 128], InterpolationMode.BICUBIC)
    assert torch.equal(samples[SampleKey(0, 1)]["mask"], vision.to_tensor(resized))


@pytest.mark.parametrize("flip", FLIPS)
def test_image_and_mask_are_mirrored_alike(pairs: list[Pair], flip: Flip) -> None:
    plain = Samples(pairs, SIDES, seed=0, flips=(0, 0))[SampleKey(0, 0)]
    mirrored = Samples(pairs, SIDES, seed=0, flips=(flip.horizontal, flip.vertical))[
        SampleKey(0, 0)
    ]
    axes = [2] * flip.horizontal + [1] * flip.vertical
    for name, values in plain.items():
        assert torch.equal(mirrored[name], values.flip(axes))


def test_flips_are_drawn_with_their_probabilities() -> None:
    drawn = np.array(
        [random_flip(5, SampleKey(e, n), (0.5, 0.2)) for e in range(20) for n in range(100)]
    )
    # 2,000 draws: four standard deviations.
    assert drawn.mean(0) == pytest.approx([0.5, 0.2], abs=0.045)
    assert np.corrcoef(drawn.T)[0, 1] == pytest.approx(0, abs=0.09)


def test_any_number_of_workers_gives_the_same(pairs: list[Pair]) -> None:
    plan = BatchPlan(len(pairs), batch=3, seed=1)
    batches = []
    for workers in (0, 2):
        loader = DataLoader(
            Samples(pairs, SIDES, seed=1),
            batch_sampler=plan.parts_from(0, 0, 2),
            num_workers=workers,
        )
        batches.append(list(loader))
    assert len(batches[0]) == 6
    for one, other in zip(*batches, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in (*SIDES, "mask"))


def test_an_epoch_takes_every_pair_once_in_an_order_of_its_own() -> None:
    plan = BatchPlan(10, batch=4, seed=0)
    orders = []
    for epoch in range(2):
        steps = plan.steps(epoch)
        assert [len(part) for step in steps for part in step] == [4, 4, 2]
        orders.append([key.number for step in steps for part in step for key in part])
        assert sorted(orders[-1]) == list(range(10))
    assert orders[0] != orders[1]
    assert orders[0] == [k.number for s in BatchPlan(10, 4, 0).steps(0) for p in s for k in p]
    assert orders[0] != [k.number for s in BatchPlan(10, 4, 1).steps(0) for p in s for k in p]


def test_a_plan_goes_on_where_it_stopped() -> None:
    plan = BatchPlan(10, batch=4, seed=0, parts=2)
    everything = list(plan.parts_from(0, 0, 3))
    done = [part for step in plan.steps(0) for part in step]
    done += [part for step in plan.steps(1)[:1] for part in step]
    assert list(plan.parts_from(1, 1, 3)) == everything[len(done) :]


@pytest.mark.parametrize("count", [24, 25, 29])
def test_processes_and_parts_share_the_batches(count: int) -> None:
    plans = [BatchPlan(count, batch=12, seed=2, parts=3, rank=rank, world=2) for rank in (0, 1)]
    whole = [key for step in BatchPlan(count, 12, 2).steps(4) for part in step for key in part]
    by_process = [plan.steps(4) for plan in plans]
    taken = []
    for steps in zip(*by_process, strict=True):
        sizes = [[len(part) for part in step] for step in steps]
        assert sizes[0] == sizes[1]
        assert max(sizes[0]) <= 2
        taken += [key for step in steps for part in step for key in part]
    assert len(by_process[0]) == plans[0].steps_per_epoch
    assert sorted(taken) == sorted(whole[: count - count % 2])


def test_a_file_that_went_away_is_named(tmp_path: Path) -> None:
    gone = Pair("a", tmp_path / "a.jpg", tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.jpg"):
        Samples([gone], SIDES, seed=0)[SampleKey(0, 0)]
