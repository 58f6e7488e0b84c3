"""Plots of latency and throughput by batch."""

from __future__ import annotations

from collections.abc import Sequence

from dsunet_runtime.bench.measurement import Measurement
from dsunet_runtime.svg import Axis, Plot, side_by_side


def draw_latency_plot(measurements: Sequence[Measurement]) -> str:
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
    return side_by_side(
        [
            Plot("median latency in ms", across, latency),
            Plot("images per second", across, throughput),
        ]
    )
