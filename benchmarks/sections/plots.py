"""Plots of result files: each function returns an SVG file, or None without results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dsunet_runtime import svg
from dsunet_runtime.svg import Axis
from sections.tables import Document

Lines = Mapping[str, Sequence[tuple[float, float]]]


def rounds(found: Mapping[str, Document], words: Mapping[str, str]) -> str | None:
    """Plot the time of each variant by round, one plot per result; `words` are labels."""
    labels = {
        way: label
        for way, label in words.items()
        if any(way in document["times"] for document in found.values())
    }
    plots = []
    for title, document in found.items():
        times = {way: document["times"].get(way, {"all_s": []})["all_s"] for way in labels}
        count = max(map(len, times.values()))
        lines = {labels[way]: list(enumerate(seconds, start=1)) for way, seconds in times.items()}
        across = Axis("round", range(1, max(2, count) + 1))
        plots.append((f"{title}: seconds per round", across, lines))
    return _side_by_side(plots)


def memory(found: Mapping[str, Document]) -> str | None:
    """Plot the resident memory of a process over calls, one plot per preset."""
    plots = []
    for preset, document in found.items():
        seen = document["memory"]["measured"]
        megabytes = [size / 1e6 for size in seen["resident"]]
        lines = {"resident memory": list(zip(seen["calls"], megabytes, strict=True))}
        across = Axis.to(max(1, *seen["calls"]), "calls")
        plots.append((f"{preset}: resident memory in MB", across, lines))
    return _side_by_side(plots)


def frames(found: Mapping[str, Document]) -> str | None:
    """Plot the time of each form by image size, one plot per preset."""
    plots = []
    for preset, document in found.items():
        sizes = document["sizes"].values()
        lines = {
            form: [
                (one["width"] * one["height"] / 1e6, 1000 * one["times"][form]["median_s"])
                for one in sizes
            ]
            for form in ("frames", "tensors")
        }
        across = Axis.to(max(x for points in lines.values() for x, _ in points), "megapixels")
        plots.append((f"{preset}: median in ms", across, lines))
    return _side_by_side(plots)


def batches(found: Mapping[str, Document]) -> str | None:
    """Plot the throughput by batch, one plot per preset."""
    plots = []
    for preset, document in found.items():
        points = [(one["batch"], one["images_per_s"]) for one in document["batches"]]
        across = Axis("batch", [batch for batch, _ in points], logarithmic=True)
        plots.append((f"{preset}: images per second", across, {"images per second": points}))
    return _side_by_side(plots)


def _side_by_side(plots: Sequence[tuple[str, Axis, Lines]]) -> str | None:
    """Draw plots of the same lines side by side, with separate scales from 0."""
    if not plots:
        return None
    labels = [label.replace("`", "") for label in plots[0][2]]
    drawn = [
        svg.plot(title, across, _scale(lines), lines, left=svg.WIDTH * index, dots=True)
        for index, (title, across, lines) in enumerate(plots)
    ]
    height = svg.HEIGHT + svg.LINE * len(labels) + 8
    return svg.page(svg.WIDTH * len(plots), height, [*drawn, *svg.key(labels)])


def _scale(lines: Lines) -> Axis:
    return Axis.to(max(value for points in lines.values() for _, value in points), "")
