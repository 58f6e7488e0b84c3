"""The paper's rows."""

from __future__ import annotations

import dataclasses

import pytest

from dsunet.evaluation.metrics import Scores
from dsunet.evaluation.published import (
    PublishedRow,
    known_dataset,
    published_images,
    published_rows,
    rows_for,
)

OPEN_IN_THE_TEXT = {
    (method, dataset) for method in ("ICON", "EDN") for dataset in ("DUTS-TE", "DUT-OMRON")
}
SALIENT = ("III", "IV", "VII")
"""Tables without F-measure."""


def of_the_paper() -> list[PublishedRow]:
    return [row for row in published_rows() if row.table]


def test_every_table_is_there_whole() -> None:
    methods: dict[str, set[str]] = {}
    datasets: dict[str, set[str]] = {}
    for row in of_the_paper():
        methods.setdefault(row.table, set()).add(row.method)
        datasets.setdefault(row.table, set()).add(row.dataset)
    assert {table: len(names) for table, names in methods.items()} == {
        "III": 6, "IV": 6, "V": 6, "VI": 6, "VII": 4, "VIII": 4,
    }  # fmt: skip
    assert {table: len(names) for table, names in datasets.items()} == {
        "III": 3, "IV": 2, "V": 2, "VI": 2, "VII": 2, "VIII": 2,
    }  # fmt: skip
    assert len(of_the_paper()) == 18 + 12 + 12 + 12 + 8 + 8


def test_figures_are_plausible_and_of_three_decimals() -> None:
    for row in of_the_paper():
        assert (row.f_adaptive is None) == (row.table in SALIENT)
        is_open = row.table == "III" and (row.method, row.dataset) in OPEN_IN_THE_TEXT
        assert (row.s_measure is None) == is_open
        for name, value in row.figures.items():
            if value is not None:
                assert value == round(value, 3)
                assert (0.01 <= value <= 0.1) if name == "mae" else (0.6 <= value <= 0.98)
        assert row.figures.keys() <= {field.name for field in dataclasses.fields(Scores)}


@pytest.mark.parametrize(
    ("method", "table", "dataset", "figures"),
    [
        ("DSU-Net", "III", "DUTS-TE", (0.934, None, 0.959, 0.020)),
        ("DSU-Net", "III", "HKU-IS", (0.945, None, 0.969, 0.019)),
        ("SAM2-UNet", "III", "DUT-OMRON", (0.884, None, 0.912, 0.039)),
        ("DSU-Net", "IV", "ECSSD", (0.953, None, 0.972, 0.018)),
        ("DSU-Net", "V", "CHAMELEON", (0.923, 0.869, 0.963, 0.020)),
        ("FEDER", "V", "CAMO", (0.836, 0.807, 0.897, 0.066)),
        ("DSU-Net", "VI", "NC4K", (0.909, 0.868, 0.948, 0.026)),
        ("B", "VII", "DUTS-TE", (0.926, None, 0.950, 0.025)),
        ("A", "VIII", "COD10K", (0.879, 0.800, 0.938, 0.020)),
        ("SAM2-UNet", "", "MAS3K", (0.903, None, 0.943, 0.021)),
        ("SAM2-UNet", "", "PMD", (None, None, None, 0.027)),
    ],
)
def test_cells(method: str, table: str, dataset: str, figures: tuple[float | None, ...]) -> None:
    (row,) = (
        row
        for row in published_rows()
        if (row.method, row.table, row.dataset) == (method, table, dataset)
    )
    assert tuple(row.figures.values()) == figures


def test_the_ablations_repeat_the_papers_own_rows() -> None:
    own = [row for row in published_rows() if row.method == "DSU-Net"]
    repeated = [row for row in own if row.table in ("VII", "VIII")]
    for row in repeated:
        (first,) = (
            one for one in own if one.dataset == row.dataset and one.table not in ("VII", "VIII")
        )
        assert first.figures == row.figures


@pytest.mark.parametrize(
    ("name", "dataset"),
    [
        ("ECSSD", "ECSSD"),
        ("duts", "DUTS-TE"),
        ("DUTS-TE", "DUTS-TE"),
        ("DUT_OMRON", "DUT-OMRON"),
        ("HKUIS", "HKU-IS"),
        ("CAMO-Test", "CAMO"),
        ("COD10K-TE", "COD10K"),
        ("pascal-s", "PASCAL-S"),
        ("mas3k", "MAS3K"),
        ("held-out", None),
        ("DUTS-TR", None),
    ],
)
def test_datasets_by_the_names_that_people_use(name: str, dataset: str | None) -> None:
    assert known_dataset(name) == dataset
    images = published_images(name)
    assert (images is None) == (dataset is None)
    assert {row.dataset for row in rows_for(name, images or 3)} == ({dataset} if dataset else set())


@pytest.mark.parametrize(
    ("name", "images"),
    [("DUTS-TE", 5019), ("ECSSD", 1000), ("COD10K", 2026), ("CAMO", 250), ("NC4K", 4121)],
)
def test_rows_are_for_the_published_number_of_images_only(name: str, images: int) -> None:
    assert rows_for(name, images)
    for other in (3, images - 1, images + 1):
        assert not rows_for(name, other)


def test_every_dataset_of_a_row_has_its_number_of_images() -> None:
    assert all(published_images(row.dataset) for row in published_rows())


def test_rows_of_a_dataset_begin_with_the_papers_own_and_are_unique() -> None:
    rows = rows_for("DUTS-TE", 5019)
    assert [(row.method, row.table) for row in rows] == [
        ("DSU-Net", "III"),
        *((name, "III") for name in ("U2Net", "ICON", "EDN", "MENet", "SAM2-UNet")),
        *((name, "VII") for name in "ABC"),
    ]
