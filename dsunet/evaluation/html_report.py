"""An evaluation as an HTML report: tables, curves and the worst masks in one file, no scripts."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from dsunet.evaluation.metrics import mean_curves
from dsunet.evaluation.results import DatasetResults, Result
from dsunet.evaluation.scorer import ScoredMask
from dsunet.evaluation.table import HEADINGS, notes, rows_of
from dsunet_runtime.errors import ImageError
from dsunet_runtime.images import as_rgb
from dsunet_runtime.message_text import readable
from dsunet_runtime.svg import Axis, Plot, side_by_side

_THRESHOLDS = np.linspace(1, 0, 256)
"""Thresholds of py_sod_metrics' curves, divided by 255: 1 down to 0."""
_SIDE = 240
_STYLE = """
body { font: 15px/1.4 sans-serif; margin: 2em; color: #222; }
table { border-collapse: collapse; }
th, td { padding: 3px 10px; text-align: right; }
th:first-child, td:first-child { text-align: left; white-space: pre; }
tr.paper { color: #777; }
thead { border-bottom: 1px solid #222; }
figure { display: inline-block; width: 240px; margin: 0 8px 8px 0; vertical-align: top; }
figcaption { font-size: 13px; overflow-wrap: anywhere; }
img { display: block; }
"""


def draw_page(evaluation: Sequence[DatasetResults], worst: int) -> str:
    """Format the report as HTML, with the `worst` masks of each dataset."""
    body = "\n".join(_section(one, worst) for one in evaluation)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Evaluation</title>'
        f"<style>{_STYLE}</style></head><body>\n<h1>Evaluation</h1>\n{body}\n"
        f"<p>{escape(' '.join(notes(evaluation)))}</p>\n</body></html>\n"
    )


def find_worst(one: DatasetResults, count: int) -> list[int]:
    """Indices of the images with the lowest S-measure of any model, lowest first."""
    of_images = np.array(
        [[scored.scores.s_measure for scored in result.scored] for result in one.results]
    )
    lowest = np.nan_to_num(of_images, nan=math.inf).min(axis=0)
    return [int(index) for index in np.argsort(lowest, kind="stable")[:count]]


def _section(one: DatasetResults, worst: int) -> str:
    parts = [f"<h2>{escape(one.title)}</h2>", _table(one), _curves(one)]
    if worst:
        parts.append("<h3>Lowest S-measure</h3>")
        parts += [
            _case([result.scored[index] for result in one.results], one.results)
            for index in find_worst(one, worst)
        ]
    return "\n".join(parts)


def _table(one: DatasetResults) -> str:
    rows = rows_of(one)
    ours = len(rows) - len(one.published)
    heading = "".join(f"<th>{escape(name)}</th>" for name in HEADINGS.values())
    lines = [f"<table><thead><tr><th></th>{heading}</tr></thead><tbody>"]
    for index, (label, cells) in enumerate(rows):
        row = "".join(f"<td>{cell}</td>" for cell in cells)
        kind = ' class="paper"' if index >= ours else ""
        lines.append(f"<tr{kind}><td>{escape(label)}</td>{row}</tr>")
    return "\n".join([*lines, "</tbody></table>"])


def _curves(one: DatasetResults) -> str:
    precision_recall = {}
    f = {}
    for result in one.results:
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


def _case(scored: Sequence[ScoredMask], results: Sequence[Result]) -> str:
    case = scored[0].case
    figures = [_figure(case.ground_truth, "ground truth")]
    if case.image is not None:
        figures.insert(0, _figure(case.image, readable(case.stem)))
    for one, result in zip(scored, results, strict=True):
        scores = one.scores
        caption = (
            f"{result.model}: S {scores.s_measure:.3f}, F max {scores.f_curve.max():.3f}, "
            f"E max {scores.e_curve.max():.3f}, M {scores.mae:.3f}, IoU {scores.iou:.3f}"
        )
        figures.append(_figure(one.case.prediction, caption))
    return f"<div>{''.join(figures)}</div>"


def _figure(path: Path, caption: str) -> str:
    return f"<figure>{_thumbnail(path)}<figcaption>{escape(caption)}</figcaption></figure>"


def _thumbnail(path: Path) -> str:
    """The image as an embedded thumbnail, or the error if it cannot be read."""
    try:
        image = Image.fromarray(as_rgb(path))
    except ImageError as error:  # scores do not need the image
        return escape(readable(f"{path.name}: {error}"))
    image.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return (
        f'<img width="{image.width}" height="{image.height}" src="data:image/jpeg;base64,{data}">'
    )
