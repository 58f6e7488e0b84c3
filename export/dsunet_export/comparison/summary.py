"""Summarise a comparison over all images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsunet_export.comparison.compare import ImageComparison
from dsunet_export.comparison.layers import GraphComparison
from dsunet_export.verification.measures import MaskDifference, TensorDifference

PERCENTILES = (50, 90, 99)
HIGHER_IS_BETTER = frozenset({"cosine", "iou", "s_measure"})
"""Measures for which higher is better; for all others lower is."""


_TITLES = {"iou": "IoU at 0.5", "s_measure": "S-measure"}


def measure_title(output: str, measure: str) -> str:
    """Return the title of a measure of an output, for people."""
    return f"{output} {_TITLES.get(measure, measure.replace('_', ' '))}"


@dataclass(frozen=True, slots=True)
class ImageDifference:
    """Differences on one image, without its masks."""

    label: str
    tensors: dict[str, TensorDifference]
    mask: MaskDifference


@dataclass(frozen=True, slots=True)
class MeasureSummary:
    """Percentiles of one measure over the images."""

    percentiles: tuple[float, ...]
    """Values at `PERCENTILES`, counted so that a higher percentile is worse."""
    worst: float
    image: str
    """Label of the image with the worst value."""


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """Differences of B from A on one or more images."""

    a: str
    b: str
    rows: Sequence[ImageDifference]
    worst: ImageComparison
    """Image with the largest mean difference of its masks, with the masks."""
    graphs: GraphComparison | None = None
    """Errors of the layers, if they were compared (`--layers`)."""

    @property
    def summaries(self) -> dict[str, dict[str, MeasureSummary]]:
        """Summaries by output and name of the measure."""
        found = {
            output: _summaries(self.rows, TensorDifference, lambda row, o=output: row.tensors[o])  # type: ignore[misc]
            for output in self.rows[0].tensors
        }
        return {**found, "mask": _summaries(self.rows, MaskDifference, lambda row: row.mask)}


def summarize_comparison(a: str, b: str, compared: Iterable[ImageComparison]) -> ModelComparison:
    """Collect the differences of all images; only the masks of the worst image are kept."""
    rows: list[ImageDifference] = []
    worst: ImageComparison | None = None
    for one in compared:
        rows.append(ImageDifference(one.label, one.tensors, one.mask))
        if worst is None or one.mask.mean > worst.mask.mean:
            worst = one
    if worst is None:
        raise ValueError("there is no image to compare on")
    return ModelComparison(a, b, rows, worst)


def _summaries(
    rows: Sequence[ImageDifference], kind: type[Any], difference: Callable[[ImageDifference], Any]
) -> dict[str, MeasureSummary]:
    found = {}
    for field in dataclasses.fields(kind):
        values = {row.label: getattr(difference(row), field.name) for row in rows}
        known = {label: value for label, value in values.items() if value is not None}
        if known:
            found[field.name] = _summary(known, smallest=field.name in HIGHER_IS_BETTER)
    return found


def _summary(values: dict[str, float], *, smallest: bool) -> MeasureSummary:
    ranks = [100 - p if smallest else p for p in PERCENTILES]
    percentiles = tuple(float(p) for p in np.percentile(list(values.values()), ranks))
    image = (min if smallest else max)(values, key=lambda label: values[label])
    return MeasureSummary(percentiles, values[image], image)
