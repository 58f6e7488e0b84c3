"""What a comparison found, over all images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsunet_export.comparison.comparing import Compared
from dsunet_export.comparison.layers import GraphComparison
from dsunet_export.comparison.measures import MaskDifference, TensorDifference

PERCENTILES = (50, 90, 99)
GROWS_BETTER = frozenset({"cosine", "iou_at_half", "s_measure"})
"""Measures of which the smallest is the worst; of all others the largest is."""


@dataclass(frozen=True, slots=True)
class Row:
    """One image's differences, without its pictures."""

    label: str
    tensors: dict[str, TensorDifference]
    mask: MaskDifference


@dataclass(frozen=True, slots=True)
class Spread:
    """One measure over the images."""

    percentiles: tuple[float, ...]
    """`PERCENTILES`, of which a higher one is always worse."""
    worst: float
    image: str
    """That of the worst."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """B beside A on some images, at least one."""

    a: str
    b: str
    rows: Sequence[Row]
    worst: Compared
    """The image with the largest mean difference of its masks, with its pictures."""
    graphs: GraphComparison | None = None
    """Layer by layer, if that was asked for."""

    @property
    def spreads(self) -> dict[str, dict[str, Spread]]:
        """Of every measure, by output and name."""
        found = {
            output: _spreads(self.rows, TensorDifference, lambda row, o=output: row.tensors[o])  # type: ignore[misc]
            for output in self.rows[0].tensors
        }
        return {**found, "mask": _spreads(self.rows, MaskDifference, lambda row: row.mask)}


def summarize(a: str, b: str, compared: Iterable[Compared]) -> Comparison:
    """Go through the images; of their pictures only the worst's are kept."""
    rows: list[Row] = []
    worst: Compared | None = None
    for one in compared:
        rows.append(Row(one.label, one.tensors, one.mask))
        if worst is None or one.mask.mean > worst.mask.mean:
            worst = one
    if worst is None:
        raise ValueError("there is no image to compare on")
    return Comparison(a, b, rows, worst)


def _spreads(
    rows: Sequence[Row], kind: type[Any], difference: Callable[[Row], Any]
) -> dict[str, Spread]:
    found = {}
    for field in dataclasses.fields(kind):
        values = {row.label: getattr(difference(row), field.name) for row in rows}
        known = {label: value for label, value in values.items() if value is not None}
        if known:
            found[field.name] = _spread(known, smallest=field.name in GROWS_BETTER)
    return found


def _spread(values: dict[str, float], *, smallest: bool) -> Spread:
    ranks = [100 - p if smallest else p for p in PERCENTILES]
    percentiles = tuple(float(p) for p in np.percentile(list(values.values()), ranks))
    image = (min if smallest else max)(values, key=lambda label: values[label])
    return Spread(percentiles, values[image], image)
