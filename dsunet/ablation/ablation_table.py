"""The table of an ablation study: its metrics, with the paper's values below."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dsunet.ablation.variant import Variant
from dsunet.evaluation.published import known_dataset, published_rows
from dsunet.evaluation.results import DatasetResults
from dsunet.evaluation.table import format_score

COLUMNS = {"s_measure": "S", "f_adaptive": "F", "e_mean": "E", "mae": "M"}
"""The paper's columns; `evaluation.published` explains the choice of F and E."""

_TABLES = ("VII", "VIII")
_LABEL, _CELL = 9, 8
_NOTE = "F: adaptive, E: mean."
_NOTE_ON_PAPER = "  paper: its Tables VII and VIII."


def format_ablation_table(evaluation: Sequence[DatasetResults]) -> str:
    """Format the table: each network, with the paper's row below; datasets are side by side."""
    widths = [max(_CELL * len(COLUMNS), len(dataset.title)) + 2 for dataset in evaluation]
    lines = [
        _line("", [f"  {dataset.title}" for dataset in evaluation], widths),
        _line("", [_cells(COLUMNS.values())] * len(evaluation), widths),
    ]
    note = _NOTE
    for variant in Variant:
        ours = [_figures(_scores(dataset, variant), 4) for dataset in evaluation]
        lines.append(_line(variant, ours, widths))
        rows = [_published(dataset, variant) for dataset in evaluation]
        if any(rows):
            theirs = [_figures(row, 3) if row else "" for row in rows]
            lines.append(_line("  paper", theirs, widths))
            note = _NOTE + _NOTE_ON_PAPER
    return "\n".join([*lines, "", note])


def _scores(dataset: DatasetResults, variant: Variant) -> dict[str, float | None]:
    scores = next(result.scores for result in dataset.results if result.model == variant)
    return {name: getattr(scores, name) for name in COLUMNS}


def _published(dataset: DatasetResults, variant: Variant) -> dict[str, float | None] | None:
    """The paper's values, if its ablation tables have the dataset and these are all its images."""
    name = None if dataset.incomparable else known_dataset(dataset.test_set.name)
    for row in published_rows():
        if (row.dataset, row.method) == (name, variant) and row.table in _TABLES:
            return row.figures
    return None


def _figures(figures: Mapping[str, float | None], digits: int) -> str:
    return _cells(format_score(figures[name], digits) for name in COLUMNS)


def _cells(texts: Iterable[str]) -> str:
    return "".join(f"{text:>{_CELL}}" for text in texts)


def _line(label: str, groups: Sequence[str], widths: Sequence[int]) -> str:
    cells = "".join(f"{group:{width}}" for group, width in zip(groups, widths, strict=True))
    return f"{label:{_LABEL}}{cells}".rstrip()
