"""An evaluation as Markdown or LaTeX tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict

from dsunet.evaluation.results import DatasetResults
from dsunet.evaluation.table import ABSENT, HEADINGS, format_score
from dsunet.evaluation.table_format import TableFormat

_DIGITS = 3  # as the field prints them
_LOWER_IS_BETTER = ("mae",)
_LATEX_HEADINGS = {
    "s_measure": r"$S_\alpha$",
    "f_adaptive": r"$F_\beta^{ad}$",
    "f_mean": r"$F_\beta^{mn}$",
    "f_max": r"$F_\beta^{mx}$",
    "f_weighted": r"$F_\beta^{w}$",
    "e_mean": r"$E_\phi^{mn}$",
    "e_adaptive": r"$E_\phi^{ad}$",
    "e_max": r"$E_\phi^{mx}$",
    "mae": r"$\mathcal{M}$",
    "iou": "IoU",
    "dice": "Dice",
}
_LATEX_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
}


def format_paper_table(evaluation: Sequence[DatasetResults], table_format: TableFormat) -> str:
    """Format one table per dataset: the models, the best values in bold, and the published rows."""
    format_one = {TableFormat.MARKDOWN: _markdown, TableFormat.LATEX: _latex}[table_format]
    return "\n\n".join("\n".join(format_one(dataset)) for dataset in evaluation)


def _markdown(dataset: DatasetResults) -> list[str]:
    headings = [f"{HEADINGS[name]} {'↓' if name in _LOWER_IS_BETTER else '↑'}" for name in HEADINGS]
    rows = [(dataset.title, headings), *_rows(dataset, "**{}**")]
    lines = [
        "| " + " | ".join([re.sub(r"([\\|*_`<\[])", r"\\\1", label), *cells]) + " |"
        for label, cells in rows
    ]
    return [lines[0], "|---|" + "---:|" * len(HEADINGS), *lines[1:]]


def _latex(dataset: DatasetResults) -> list[str]:
    arrows = [r"\downarrow" if name in _LOWER_IS_BETTER else r"\uparrow" for name in HEADINGS]
    headings = [
        f"{_LATEX_HEADINGS[name]} ${arrow}$" for name, arrow in zip(HEADINGS, arrows, strict=True)
    ]
    rows = [(dataset.title, headings), *_rows(dataset, r"\textbf{{{}}}")]
    lines = [
        " & ".join(["".join(_LATEX_ESCAPES.get(c, c) for c in label), *cells]) + r" \\"
        for label, cells in rows
    ]
    return [
        r"\begin{tabular}{l" + "c" * len(HEADINGS) + "}  % with \\usepackage{booktabs}",
        r"\toprule",
        lines[0],
        r"\midrule",
        *lines[1:],
        r"\bottomrule",
        r"\end{tabular}",
    ]


def _rows(dataset: DatasetResults, bold: str) -> list[tuple[str, list[str]]]:
    """Label and cells of each row; the format `bold` is applied to the best of several models.

    Values that are equal after rounding are equally good.
    """
    ours = [
        {name: format_score(value, _DIGITS) for name, value in asdict(result.scores).items()}
        for result in dataset.results
    ]
    best = {}
    if len(ours) > 1:
        for name in HEADINGS:
            figures = [row[name] for row in ours if row[name] != ABSENT]
            choose = min if name in _LOWER_IS_BETTER else max
            best[name] = choose(figures, key=float, default=None)
    rows = [
        (result.model, [bold.format(row[n]) if row[n] == best.get(n) else row[n] for n in HEADINGS])
        for result, row in zip(dataset.results, ours, strict=True)
    ]
    for row in dataset.published:
        cells = [format_score(row.figures.get(name), _DIGITS) for name in HEADINGS]
        rows.append((row.label, cells))
    return rows
