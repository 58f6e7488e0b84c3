"""Plots of latency and throughput by batch."""

from __future__ import annotations

from collections.abc import Sequence

from dsunet_runtime import svg
from dsunet_runtime.bench.measurement import Measurement
from dsunet_runtime.svg import Axis


def draw_plot(measurements: Sequence[Measurement]) -> str:
    """Draw two plots side by side, median latency and throughput by batch.

    There is one line for each combination of runner, origin and streams.
    """
    latency: dict[str, list[tuple[float, float]]] = {}
    throughput: dict[str, list[tuple[float, float]]] = {}
    for one in sorted(measurements, key=lambda one: one.workload.setting.batch):
        setting = one.workload.setting
        streams = "" if setting.streams == 1 else f", {setting.streams} streams"
        label = f"{one.workload.runner.label}, from {setting.origin}{streams}"
        latency.setdefault(label, []).append((setting.batch, 1000 * one.latency.median))
        throughput.setdefault(label, []).append((setting.batch, one.images_per_second))
    batches = sorted({one.workload.setting.batch for one in measurements})
    if len(batches) == 1:  # an axis has two ends
        batches = [batches[0], 2 * batches[0]]
    across = Axis("batch", batches, logarithmic=True)
    return svg.page(
        2 * svg.WIDTH,
        svg.HEIGHT + svg.LINE * len(latency) + 8,
        [
            _plot("median latency in ms", across, latency, 0),
            _plot("images per second", across, throughput, svg.WIDTH),
            *svg.key(latency),
        ],
    )


def _plot(
    title: str, across: Axis, lines: dict[str, list[tuple[float, float]]], left: float
) -> str:
    largest = max(value for points in lines.values() for _, value in points)
    return svg.plot(title, across, Axis.to(largest, ""), lines, left=left, dots=True)
