"""The figures of the paper's tables III to VIII, as data (published.json).

The paper names its columns S_alpha, F_beta, E_phi and M, and does not say which F and which E it
means.  Its evaluation follows SAM2-UNet, whose rows it repeats and whose script prints the adaptive
F (beta² = 0.3) and the mean E; so the figures stand under those.  Cells that the text at hand does
not show for certain are null.
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
    """A method's figures on one dataset, in [0, 1], three decimals; None where not published."""

    method: str
    table: str
    """The paper's number of the table, in Roman numerals."""
    dataset: str
    s_measure: float | None
    f_adaptive: float | None
    e_mean: float | None
    mae: float | None

    @property
    def label(self) -> str:
        """What a table calls the row."""
        return f"{self.method} (paper, Table {self.table})"

    @property
    def figures(self) -> dict[str, float | None]:
        """By the names that `Scores` has for them."""
        return {name: getattr(self, name) for name in _METRICS}


@cache
def published_rows() -> tuple[PublishedRow, ...]:
    """All rows, in the paper's order."""
    text = resources.files("dsunet.evaluation").joinpath("published.json").read_text("utf-8")
    return tuple(
        PublishedRow(method, number, dataset, **{name: figures.get(name) for name in _METRICS})
        for number, table in json.loads(text)["tables"].items()
        for method, by_dataset in table.items()
        for dataset, figures in by_dataset.items()
    )


def known_dataset(name: str) -> str | None:
    """The paper's name for the dataset that someone calls `name`: DUTS-TE for duts, for example."""
    wanted = _plain(name)
    for dataset in dict.fromkeys(row.dataset for row in published_rows()):
        plain = _plain(dataset).removesuffix("te")
        if wanted in [plain + suffix for suffix in _SUFFIXES]:
            return dataset
    return None


def rows_for(name: str) -> list[PublishedRow]:
    """The paper's rows for a dataset: its own method first, each of a method's figures once."""
    dataset = known_dataset(name)
    rows: dict[tuple[object, ...], PublishedRow] = {}
    for row in published_rows():
        if row.dataset == dataset:
            rows.setdefault((row.method, *row.figures.values()), row)
    return sorted(rows.values(), key=lambda row: row.method != "DSU-Net")


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
