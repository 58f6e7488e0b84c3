"""The values of the paper's tables III to VIII (published.json).

The paper names its columns S_alpha, F_beta, E_phi and M, without stating which F and E they are.
Its evaluation follows SAM2-UNet, whose rows it repeats and whose script prints the adaptive F
(beta² = 0.3) and the mean E, so the values are listed under those.  Illegible cells are null.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

_METRICS = ("s_measure", "f_adaptive", "e_mean", "mae")
_SUFFIXES = ("", "te", "test")


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """A method's published values on one dataset, in [0, 1], three decimals; None if absent."""

    method: str
    table: str
    """Number of the table in the paper, in Roman numerals."""
    dataset: str
    s_measure: float | None
    f_adaptive: float | None
    e_mean: float | None
    mae: float | None

    @property
    def label(self) -> str:
        """Label of the row in tables."""
        return f"{self.method} (paper, Table {self.table})"

    @property
    def figures(self) -> dict[str, float | None]:
        """The values by the field names of `Scores`."""
        return {name: getattr(self, name) for name in _METRICS}


@cache
def published_rows() -> tuple[PublishedRow, ...]:
    """All rows, in the order of the paper."""
    text = resources.files("dsunet.evaluation").joinpath("published.json").read_text("utf-8")
    return tuple(
        PublishedRow(method, number, dataset, **{name: figures.get(name) for name in _METRICS})
        for number, table in json.loads(text)["tables"].items()
        for method, by_dataset in table.items()
        for dataset, figures in by_dataset.items()
    )


def known_dataset(name: str) -> str | None:
    """The paper's name of a dataset, such as DUTS-TE for `duts`; None if the paper lacks it."""
    wanted = _plain(name)
    for dataset in dict.fromkeys(row.dataset for row in published_rows()):
        plain = _plain(dataset).removesuffix("te")
        if wanted in [plain + suffix for suffix in _SUFFIXES]:
            return dataset
    return None


def rows_for(name: str) -> list[PublishedRow]:
    """The paper's rows for a dataset: DSU-Net first, without duplicates."""
    dataset = known_dataset(name)
    rows: dict[tuple[object, ...], PublishedRow] = {}
    for row in published_rows():
        if row.dataset == dataset:
            rows.setdefault((row.method, *row.figures.values()), row)
    return sorted(rows.values(), key=lambda row: row.method != "DSU-Net")


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
