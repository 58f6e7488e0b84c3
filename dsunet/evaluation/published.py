"""Published values: tables III to VIII of the paper, and those of SAM2-UNet (published.json).

The paper names its columns S_alpha, F_beta, E_phi and M, without stating which F and E they are.
Its evaluation follows SAM2-UNet, whose rows it repeats and whose script prints the adaptive F
(beta² = 0.3) and the mean E, so the values are listed under those.  Illegible cells are null.

Of SAM2-UNet's paper (arXiv:2408.08870), published.json has what the paper does not repeat: marine
animals and mirrors, with the measures that are defined as here.  Its Dice and IoU are means over
all thresholds, and its results on polyps have no other metrics: they are left out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

_METRICS = ("s_measure", "f_adaptive", "e_mean", "mae")
_SUFFIXES = ("", "te", "test")
_IMAGES = "images"


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """A method's published values on one dataset, in [0, 1], three decimals; None if absent."""

    method: str
    table: str
    """Number of the table in the paper, in Roman numerals; empty for SAM2-UNet's paper."""
    dataset: str
    s_measure: float | None
    f_adaptive: float | None
    e_mean: float | None
    mae: float | None

    @property
    def label(self) -> str:
        """Label of the row in tables."""
        return f"{self.method} ({f'paper, Table {self.table}' if self.table else 'its paper'})"

    @property
    def figures(self) -> dict[str, float | None]:
        """The values by the field names of `Scores`."""
        return {name: getattr(self, name) for name in _METRICS}


@cache
def published_rows() -> tuple[PublishedRow, ...]:
    """All rows, in the order of the papers."""
    papers = [tables for name, tables in _document().items() if name != _IMAGES]
    return tuple(
        PublishedRow(method, number, dataset, **{name: figures.get(name) for name in _METRICS})
        for tables in papers
        for number, table in tables.items()
        for method, by_dataset in table.items()
        for dataset, figures in by_dataset.items()
    )


def known_dataset(name: str) -> str | None:
    """The papers' name of a dataset, such as DUTS-TE for `duts`; None if they lack it."""
    wanted = _plain(name)
    for dataset in _document()[_IMAGES]:
        plain = _plain(dataset).removesuffix("te")
        if wanted in [plain + suffix for suffix in _SUFFIXES]:
            return str(dataset)
    return None


def published_images(name: str) -> int | None:
    """Number of images of the published values of a dataset; None if there are none."""
    images: dict[str | None, int] = _document()[_IMAGES]
    return images.get(known_dataset(name))


def rows_for(name: str, images: int) -> list[PublishedRow]:
    """The published rows for a dataset: DSU-Net first, without duplicates.

    Empty unless `images`, the number of evaluated images, is that of the published values.
    """
    if images != published_images(name):
        return []
    dataset = known_dataset(name)
    rows: dict[tuple[object, ...], PublishedRow] = {}
    for row in published_rows():
        if row.dataset == dataset:
            rows.setdefault((row.method, *row.figures.values()), row)
    return sorted(rows.values(), key=lambda row: row.method != "DSU-Net")


@cache
def _document() -> dict[str, Any]:
    """Numbers of images by dataset, and for each paper its tables, methods and datasets."""
    text = resources.files("dsunet.evaluation").joinpath("published.json").read_text("utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
