"""Tables as Markdown and LaTeX: the library's values, the best in bold."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from dsunet.cli import app
from dsunet.data.pairs import Pair
from dsunet.evaluation.metrics import score_image
from dsunet.evaluation.paper_table import format_paper_table
from dsunet.evaluation.results import DatasetResults, ModelResult
from dsunet.evaluation.scorer import ScoredMask
from dsunet.evaluation.table import HEADINGS, format_table
from dsunet.evaluation.table_format import TableFormat
from dsunet.evaluation.test_sets import Case, TestSet
from tests.evaluation.library import run_directly
from tests.evaluation.pairs import Mask, pairs_of_all_kinds

PAIRS = pairs_of_all_kinds(16)[8:11]
WORSE = [
    ((prediction // 2 + 100).astype(np.uint8), ground_truth) for prediction, ground_truth in PAIRS
]


def result_of(model: str, pairs: list[tuple[Mask, Mask]]) -> ModelResult:
    case = Case("a", None, Path("a.png"), Path("b.png"))
    return ModelResult.of(
        model, [ScoredMask(case, score_image(*pair), 255, False) for pair in pairs]
    )


def evaluation(
    name: str, images: int = 3, **models: list[tuple[Mask, Mask]]
) -> list[DatasetResults]:
    pair = Pair("a", Path("a.png"), Path("b.png"))
    test_set = TestSet(name, [pair] * images, has_images=False)
    return [DatasetResults(test_set, [result_of(m, pairs) for m, pairs in models.items()])]


def cells_of(line: str, form: TableFormat) -> list[str]:
    if form is TableFormat.MARKDOWN:
        return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    return [cell.strip() for cell in line.removesuffix(r" \\").split(" & ")]


@pytest.mark.parametrize("form", TableFormat)
def test_figures_and_the_best_of_them(form: TableFormat) -> None:
    inverted = [
        ((255 - prediction).astype(np.uint8), ground_truth) for prediction, ground_truth in PAIRS
    ]
    text = format_paper_table(evaluation("mine", good=PAIRS, bad=inverted), form)
    rows = {cells[0]: cells[1:] for cells in (cells_of(t, form) for t in text.splitlines())}
    good, bad = run_directly(PAIRS), run_directly(inverted)
    bold = "**{}**" if form is TableFormat.MARKDOWN else r"\textbf{{{}}}"
    assert len(rows["good"]) == len(HEADINGS) == 11
    for column, name in enumerate(HEADINGS):
        figures = [f"{good[name]:.3f}", f"{bad[name]:.3f}"]
        best = (min if name == "mae" else max)(figures)
        expected = [bold.format(figure) if figure == best else figure for figure in figures]
        assert [rows["good"][column], rows["bad"][column]] == expected
    assert "↓" in text or r"\downarrow" in text


def test_of_one_model_nothing_is_best() -> None:
    text = format_paper_table(evaluation("mine", only=PAIRS), TableFormat.MARKDOWN)
    assert "**" not in text


def test_the_papers_rows_stand_below() -> None:
    ecssd = evaluation("ECSSD", 1000, a=PAIRS, b=PAIRS)
    lines = format_paper_table(ecssd, TableFormat.MARKDOWN).splitlines()
    assert lines[4].startswith("| DSU-Net (paper, Table IV) | 0.953 |")
    assert "**" in lines[2]
    assert "**" not in lines[4]
    text = format_table(ecssd)
    assert text.splitlines()[4].split("  ")[0] == "DSU-Net (paper, Table IV)"
    assert "adaptive F" in text
    animals = format_table(evaluation("MAS3K", 1141, a=PAIRS))
    assert animals.splitlines()[2].startswith("SAM2-UNet (its paper)     0.903")


@pytest.mark.parametrize("images", [3, 999, 1001])
def test_published_rows_are_not_beside_another_number_of_images(images: int) -> None:
    ecssd = evaluation("ECSSD", images, a=PAIRS)
    assert "paper" not in format_paper_table(ecssd, TableFormat.MARKDOWN)
    note = "ECSSD: published values are of 1,000 images, so they are not shown."
    assert note in format_table(ecssd)


def test_names_are_escaped() -> None:
    names = {r"a_b|c*100%": PAIRS, r"{x}\&#$~^": PAIRS}
    markdown = format_paper_table(evaluation("d_1", **names), TableFormat.MARKDOWN)
    assert r"a\_b\|c\*100%" in markdown
    assert {len(cells_of(t, TableFormat.MARKDOWN)) for t in markdown.splitlines()} == {12}
    latex = format_paper_table(evaluation("d_1", **names), TableFormat.LATEX)
    assert r"a\_b|c*100\%" in latex
    escaped = r"\{x\}\textbackslash{}\&\#\$\textasciitilde{}\textasciicircum{}"
    assert escaped in latex


@pytest.mark.usefixtures("scoring_in_threads")
def test_on_the_command_line(dataset: Path) -> None:
    folders = ["--predictions", str(dataset / "Predicted"), "--masks", str(dataset / "Mask")]
    for form, start in (("markdown", "| "), ("latex", r"\begin{tabular}{lccccccccccc}")):
        arguments = ["evaluate", *folders, "--table", form, "--workers", "1"]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.stderr
        assert result.stdout.startswith(start)
