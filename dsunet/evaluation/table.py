"""An evaluation as a plain-text table, with the paper's published rows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from dsunet.evaluation.results import DatasetResults, score_differences
from dsunet_runtime.message_text import counted

HEADINGS = {
    "s_measure": "S",
    "f_adaptive": "F adp",
    "f_mean": "F mean",
    "f_max": "F max",
    "f_weighted": "F w",
    "e_mean": "E mean",
    "e_adaptive": "E adp",
    "e_max": "E max",
    "mae": "M",
    "iou": "IoU",
    "dice": "Dice",
}
"""Column headings by score, in order."""

_NOTE_ON_MASKS = "IoU and Dice: mean over images of the stretched mask at threshold 0.5."
_NOTE_ON_PAPER = (
    "The paper does not state which F and E it reports; its values are listed as adaptive F and "
    "mean E."
)
_WIDTH = 8
ABSENT = "–"


def format_table(evaluation: Sequence[DatasetResults]) -> str:
    """Format one block per dataset; scores are in [0, 1]."""
    blocks = [table_rows(dataset) for dataset in evaluation]
    width = 2 + max(len(label) for block in blocks for label, _ in block)
    width = max(width, *(len(dataset.title) + 2 for dataset in evaluation))
    lines = []
    for dataset, block in zip(evaluation, blocks, strict=True):
        heading = "".join(f"{HEADINGS[name]:>{_WIDTH}}" for name in HEADINGS)
        lines.append(f"{dataset.title:{width}}{heading}")
        lines += [
            f"{label:{width}}" + "".join(f"{cell:>{_WIDTH}}" for cell in cells)
            for label, cells in block
        ]
        lines.append("")
    return "\n".join([*lines, *footnotes(evaluation)])


def footnotes(evaluation: Sequence[DatasetResults]) -> list[str]:
    """Notes below the table, one line each."""
    has_paper = any(dataset.published for dataset in evaluation)
    resampled = [
        f"{dataset.name}: {counted(dataset.resampled, 'mask')} resampled to the size of the ground "
        "truth."
        for dataset in evaluation
        if dataset.resampled
    ]
    incomparable = [
        f"{dataset.name}: published values are of {dataset.incomparable:,} images, so they are "
        "not shown."
        for dataset in evaluation
        if dataset.incomparable
    ]
    return [_NOTE_ON_MASKS, *([_NOTE_ON_PAPER] if has_paper else []), *incomparable, *resampled]


def table_rows(dataset: DatasetResults) -> list[tuple[str, list[str]]]:
    """Label and cells of each row: models, differences to the first model, published rows."""
    first = dataset.results[0]
    rows = []
    for result in dataset.results:
        rows.append((result.model, _cells(dataclasses.asdict(result.scores), 4)))
        if result is not first:
            differences = score_differences(result, first)
            rows.append(("  difference", [_signed(differences[name]) for name in HEADINGS]))
    rows += [(row.label, _cells(row.figures, 3)) for row in dataset.published]
    return rows


def format_score(value: float | None, digits: int) -> str:
    """Format a score; a dash if it is None or NaN."""
    return ABSENT if value is None or math.isnan(value) else f"{value:.{digits}f}"


def _cells(figures: Mapping[str, float | None], digits: int) -> list[str]:
    return [format_score(figures.get(name), digits) for name in HEADINGS]


def _signed(value: float) -> str:
    if math.isnan(value):
        return ABSENT
    if value and abs(value) < 5e-5:
        return f"{value:+.0e}"
    return f"{value:+.4f}" if value else "0"
