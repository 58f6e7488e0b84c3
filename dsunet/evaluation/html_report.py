"""An evaluation as an HTML report: tables, curves and the worst masks in one file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from dsunet.evaluation.metrics import mean_curves
from dsunet.evaluation.results import DatasetResults, ModelResult
from dsunet.evaluation.scorer import ScoredMask
from dsunet.evaluation.table import HEADINGS, footnotes, table_rows
from dsunet.reports.html_page import element, embedded_image, page, table
from dsunet_runtime.errors import ImageError
from dsunet_runtime.images.decode import as_rgb
from dsunet_runtime.message_text import readable
from dsunet_runtime.svg import Axis, Plot, side_by_side

_THRESHOLDS = np.linspace(1, 0, 256)
"""Thresholds of py_sod_metrics' curves, divided by 255: 1 down to 0."""
_SIDE = 240


def format_report_page(evaluation: Sequence[DatasetResults], worst: int) -> str:
    """Format the report as HTML, with the `worst` masks of each dataset."""
    sections = [part for dataset in evaluation for part in _section(dataset, worst)]
    return page("Evaluation", [*sections, element("p", " ".join(footnotes(evaluation)))])


def find_worst(dataset: DatasetResults, count: int) -> list[int]:
    """Indices of the images with the lowest S-measure of any model, lowest first."""
    scores = np.array(
        [[scored.scores.s_measure for scored in result.scored] for result in dataset.results]
    )
    lowest = np.nan_to_num(scores, nan=math.inf).min(axis=0)
    return [int(index) for index in np.argsort(lowest, kind="stable")[:count]]


def _section(dataset: DatasetResults, worst: int) -> list[str]:
    rows = [[label, *cells] for label, cells in table_rows(dataset)]
    scores = table(HEADINGS.values(), rows, grey=len(dataset.published))
    parts = [element("h2", dataset.title), scores, _curves(dataset)]
    if worst:
        parts.append(element("h3", "Lowest S-measure"))
        parts += [
            _case([result.scored[index] for result in dataset.results], dataset.results)
            for index in find_worst(dataset, worst)
        ]
    return parts


def _curves(dataset: DatasetResults) -> str:
    precision_recall = {}
    f = {}
    for result in dataset.results:
        curves = mean_curves([scored.scores for scored in result.scored])
        precision_recall[result.model] = list(zip(curves.recall, curves.precision, strict=True))
        f[result.model] = list(zip(_THRESHOLDS, curves.f, strict=True))
    recall, precision = Axis.unit("recall"), Axis.unit("precision")
    return side_by_side(
        [
            Plot("Precision and recall", recall, precision_recall, precision, dots=False),
            Plot("F-measure", Axis.unit("threshold"), f, Axis.unit("F"), dots=False),
        ]
    )


def _case(scored: Sequence[ScoredMask], results: Sequence[ModelResult]) -> str:
    case = scored[0].case
    figures = [_figure(case.ground_truth, "ground truth")]
    if case.image is not None:
        figures.insert(0, _figure(case.image, readable(case.stem)))
    for mask, result in zip(scored, results, strict=True):
        scores = mask.scores
        caption = (
            f"{result.model}: S {scores.s_measure:.3f}, F max {scores.f_curve.max():.3f}, "
            f"E max {scores.e_curve.max():.3f}, M {scores.mae:.3f}, IoU {scores.iou:.3f}"
        )
        figures.append(_figure(mask.case.prediction, caption))
    return f"<div>{''.join(figures)}</div>"


def _figure(path: Path, caption: str) -> str:
    return f"<figure>{_thumbnail(path)}{element('figcaption', caption)}</figure>"


def _thumbnail(path: Path) -> str:
    """The image as an embedded thumbnail, or the error if it cannot be read."""
    try:
        image = Image.fromarray(as_rgb(path))
    except ImageError as error:  # scores do not need the image
        return element("p", readable(f"{path.name}: {error}"))
    image.thumbnail((_SIDE, _SIDE))
    return embedded_image(image, "jpeg", quality=80)
