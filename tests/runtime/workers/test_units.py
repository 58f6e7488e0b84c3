from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from dsunet_runtime.masks.backdrops import ImageBackdrop
from dsunet_runtime.masks.renderings import Background, Mask
from dsunet_runtime.prediction.jobs import Job, Output, OutputKind
from dsunet_runtime.workers.units import Item, Unit, divide


def jobs_of(count: int) -> list[Job]:
    return [Job.of_mask(Path(f"{index}.jpg"), Path(f"out/{index}.png")) for index in range(count)]


@pytest.mark.parametrize(
    ("count", "batch", "workers"),
    [(0, 1, 2), (1, 1, 2), (7, 4, 2), (100, 1, 2), (100, 3, 2), (5000, 4, 3), (5000, 100, 2)],
)
def test_whole_batches_in_order(count: int, batch: int, workers: int) -> None:
    jobs = jobs_of(count)
    units = divide(jobs, batch, workers)
    kinds = [output.kind for output in jobs[0].outputs] if jobs else []
    assert [item.job(kinds) for unit in units for item in unit.items] == jobs
    assert [index for unit in units for index in unit.indices] == [*range(count)]
    assert all(len(unit.items) % batch == 0 for unit in units[:-1])
    assert all(len(unit.items) <= max(64, batch) for unit in units)
    if count >= 1000 and batch < 10:  # the work can be divided evenly
        assert len(units) >= 16 * workers


def test_parts_have_the_indices_of_their_jobs() -> None:
    unit = Unit(10, tuple(map(Item.of, jobs_of(5))))
    parts = [*unit.split(2)]
    assert [[*part.indices] for part in parts] == [[10, 11], [12, 13], [14]]
    assert [item for part in parts for item in part.items] == [*unit.items]


def test_what_is_sent_does_not_contain_the_background() -> None:
    picture = Background(ImageBackdrop(np.zeros((1000, 1000, 3), np.uint8)))
    kinds = (OutputKind(Mask(), ".png"), OutputKind(picture, ".jpg"))
    outputs = tuple(Output(kind, Path(f"{index}.x")) for index, kind in enumerate(kinds))
    (unit,) = divide([Job(Path("a.jpg"), outputs)], 1, 1)
    assert len(pickle.dumps(unit)) < 1000
    assert unit.items[0].job(kinds).outputs == outputs
