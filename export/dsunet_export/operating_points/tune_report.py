"""Operating points as a table, a JSON document and an HTML page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dsunet.reports.html_page import element, page, table
from dsunet_export.operating_points.choice import loss_of, result_in_words
from dsunet_export.operating_points.results import PointResult
from dsunet_export.operating_points.tune import TuningResult
from dsunet_runtime.files import write_whole
from dsunet_runtime.message_text import counted, readable
from dsunet_runtime.plain_values import encode
from dsunet_runtime.svg import Axis, Plot, side_by_side

_FASTEST, _ON_FRONT = ">", "*"
_LEGEND = (
    "> the fastest within the loss; * on the Pareto front.  S: S-measure; M: MAE; loss: of S "
    "against the first row on the worst dataset, ± its standard error; ms: median time of one "
    "image, which on a busy machine differs from one row to the next; ratio: of that to the time "
    "of the first row in the same minutes, with its range over the rounds; noise: the rounds do "
    "not show which is faster."
)
_LEAST_SPAN = 1e-3
"""Smallest range of the axis of losses."""


def format_tuning(tuning: TuningResult) -> str:
    """Format the table as text, with notes below it."""
    headings, rows = _headings(tuning), _rows(tuning)
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    lines = [
        "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (headings, *rows)
    ]
    return "\n".join([*lines, "", *tuning_notes(tuning)])


def tuning_notes(tuning: TuningResult) -> list[str]:
    """Return lines for below the table: legend, failures, points not tried, and the fastest one."""
    lines = [_LEGEND]
    lines += [f"not measured: {point.label}: {why}" for point, why in tuning.failures.items()]
    if tuning.not_tried:
        lines.append(
            "not tried, because the time limit of --budget was reached: "
            f"{counted(len(tuning.not_tried), 'point')}; the same command continues"
        )
    fastest, reference = tuning.fastest, tuning.reference
    within = f"within a loss of {tuning.max_loss:g}"
    if fastest is reference:
        lines.append(f"no point is faster {within} than {reference.point.label}")
    else:
        saved = reference.macs / fastest.macs
        lines.append(
            f"fastest {within}: {fastest.point.label}: {result_in_words(fastest, reference)}, and "
            f"{saved:.2f} times fewer multiply-adds"
        )
    return [readable(line) for line in lines]


def tuning_document(tuning: TuningResult, about: dict[str, Any]) -> dict[str, Any]:
    """Convert the results to JSON values; `about` is from `describe_inputs`."""
    front = [one.point for one in tuning.front]
    return {
        "format_version": 1,
        **about,
        "max_loss": tuning.max_loss,
        "reference": encode(tuning.reference.point),
        "fastest": encode(tuning.fastest.point),
        "points": [_plain(one, tuning.reference, one.point in front) for one in tuning.results],
        "failures": [
            {"point": encode(point), "reason": readable(why)}
            for point, why in tuning.failures.items()
        ],
        "not_tried": encode(tuning.not_tried),
    }


def write_tuning(tuning: TuningResult, about: dict[str, Any], folder: Path) -> None:
    """Write tune.json and tune.html.  Raises OutputError if that fails."""
    document = json.dumps(tuning_document(tuning, about), indent=2) + "\n"
    title = f"Operating points of {about['checkpoint']}"
    parts = [
        side_by_side([_plot(tuning)]),
        table(_headings(tuning)[1:], _rows(tuning)),
        *(element("p", line) for line in tuning_notes(tuning)),
    ]
    _write(folder / "tune.json", document)
    _write(folder / "tune.html", page(title, parts))


def _write(path: Path, text: str) -> None:
    write_whole(path, lambda file: file.write(text.encode()))


def _plain(result: PointResult, reference: PointResult, on_front: bool) -> dict[str, Any]:
    loss = loss_of(result, reference)
    values: dict[str, Any] = encode(result)
    for accuracy in values["accuracy"].values():
        del accuracy["each"]
    has_error = loss.standard_error == loss.standard_error
    return {
        **values,
        "loss": loss.value,
        "loss_standard_error": loss.standard_error if has_error else None,
        "loss_dataset": loss.dataset,
        "on_front": on_front,
    }


def _headings(tuning: TuningResult) -> list[str]:
    names = tuning.reference.accuracy
    scores = [f"{name} {score}" for name in names for score in ("S", "M")]
    settings = ["", "hiera", "dino", "precision", "provider", "G MACs", "MB"]
    return [*settings, *map(readable, scores), "loss", "±", "ms", "ratio", "range"]


def _rows(tuning: TuningResult) -> list[list[str]]:
    front, fastest = tuning.front, tuning.fastest
    return [
        _row(one, tuning.reference, _FASTEST * (one is fastest) + _ON_FRONT * (one in front))
        for one in tuning.results
    ]


def _row(result: PointResult, reference: PointResult, mark: str) -> list[str]:
    point, timing, loss = result.point, result.timing, loss_of(result, reference)
    noise = ", noise" if timing.within_noise else ""
    return [
        mark,
        str(point.hiera_size),
        str(point.dino_size or "–"),
        point.precision.value,
        point.provider.value,
        f"{result.macs / 1e9:,.3f}",
        f"{result.size / 1e6:,.1f}",
        *(
            f"{score:.4f}"
            for accuracy in result.accuracy.values()
            for score in (accuracy.s_measure, accuracy.mae)
        ),
        f"{loss.value:.4f}",
        f"{loss.standard_error:.4f}",
        f"{1000 * timing.seconds:,.1f}",
        f"{timing.ratio:.3f}",
        "" if result is reference else f"{timing.lowest:.3f} to {timing.highest:.3f}{noise}",
    ]


def _plot(tuning: TuningResult) -> Plot:
    front = tuning.front
    others = [one for one in tuning.results if one not in front]
    lines = {
        "Pareto front": _places(sorted(front, key=lambda one: one.timing.ratio), tuning.reference),
        "other points": _places(others, tuning.reference),
        f"chosen: {tuning.fastest.point.label}": _places([tuning.fastest], tuning.reference),
    }
    places = [place for line in lines.values() for place in line]
    losses = [loss for _, loss in places]
    low = min(0.0, *losses)
    return Plot(
        "loss of S-measure by time",
        Axis.to(max(ratio for ratio, _ in places), "time relative to the first row"),
        lines,
        Axis.between(low, max(*losses, low + _LEAST_SPAN), "loss of S-measure"),
        unconnected=[*lines][1:],
    )


def _places(results: Sequence[PointResult], reference: PointResult) -> list[tuple[float, float]]:
    return [(one.timing.ratio, loss_of(one, reference).value) for one in results]
