"""The loss of a point, the Pareto front, and the fastest point within a loss."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from dsunet_export.operating_points.results import PointResult


@dataclass(frozen=True, slots=True)
class Loss:
    """Loss of S-measure against the reference, on the dataset where it is largest."""

    value: float
    standard_error: float
    """Standard error of the mean difference over the images; NaN for a single image."""
    dataset: str


def loss_of(result: PointResult, reference: PointResult) -> Loss:
    """Return the largest loss of S-measure over the datasets; negative if all are better."""
    losses = []
    for name, accuracy in result.accuracy.items():
        before = reference.accuracy[name]
        differences = [a - b for a, b in zip(before.each, accuracy.each, strict=True)]
        count = len(differences)
        error = statistics.stdev(differences) / math.sqrt(count) if count > 1 else math.nan
        losses.append(Loss(before.s_measure - accuracy.s_measure, error, name))
    return max(losses, key=lambda loss: loss.value)


def result_in_words(result: PointResult, reference: PointResult) -> str:
    """Describe a result in one line."""
    if result is reference:
        return f"the reference, {1000 * result.timing.seconds:,.1f} ms"
    loss, timing = loss_of(result, reference), result.timing
    return (
        f"loses {loss.value:.4f} ± {loss.standard_error:.4f} of the S-measure, takes "
        f"{timing.ratio:.2f} of the time ({timing.lowest:.2f} to {timing.highest:.2f})"
    )


def pareto_front(results: Sequence[PointResult], reference: PointResult) -> list[PointResult]:
    """Return the results that no other one surpasses without being worse in time or loss."""
    costs = [(one.timing.ratio, loss_of(one, reference).value) for one in results]
    return [
        one
        for one, (ratio, loss) in zip(results, costs, strict=True)
        if not any((r, s) != (ratio, loss) and r <= ratio and s <= loss for r, s in costs)
    ]


def fastest_within(
    results: Sequence[PointResult], reference: PointResult, max_loss: float
) -> PointResult:
    """Return the fastest result that loses at most `max_loss` on every dataset.

    A result whose time differs from the reference's only by noise is not faster than it.
    """
    faster = [
        one
        for one in results
        if loss_of(one, reference).value <= max_loss and not one.timing.within_noise
    ]
    return min([reference, *faster], key=lambda one: one.timing.ratio)
