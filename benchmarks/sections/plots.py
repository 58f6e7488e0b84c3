"""Plots of result files: each function returns an SVG file, or None without results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dsunet_runtime.svg import Axis, Plot, side_by_side
from sections.tables import Document


def rounds(found: Mapping[str, Document], words: Mapping[str, str]) -> str | None:
    """Plot the time of each variant by round, one plot per result; `words` are labels."""
    labels = {
        variant: label.replace("`", "")
        for variant, label in words.items()
        if any(variant in document["times"] for document in found.values())
    }
    plots = []
    for title, document in found.items():
        times = {
            variant: document["times"].get(variant, {"all_s": []})["all_s"] for variant in labels
        }
        count = max(map(len, times.values()))
        lines = {
            labels[variant]: list(enumerate(seconds, start=1)) for variant, seconds in times.items()
        }
        across = Axis("round", range(1, max(2, count) + 1))
        plots.append(Plot(f"{title}: seconds per round", across, lines))
    return _drawn(plots)


def memory(found: Mapping[str, Document]) -> str | None:
    """Plot the resident memory of a process over calls, one plot per preset."""
    plots = []
    for preset, document in found.items():
        seen = document["memory"]["measured"]
        megabytes = [size / 1e6 for size in seen["resident"]]
        lines = {"resident memory": list(zip(seen["calls"], megabytes, strict=True))}
        across = Axis.to(max(1, *seen["calls"]), "calls")
        plots.append(Plot(f"{preset}: resident memory in MB", across, lines))
    return _drawn(plots)


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
        plots.append(Plot(f"{preset}: median in ms", across, lines))
    return _drawn(plots)


def batches(found: Mapping[str, Document]) -> str | None:
    """Plot the throughput by batch, one plot per preset."""
    plots = []
    for preset, document in found.items():
        points = [(one["batch"], one["images_per_s"]) for one in document["batches"]]
        across = Axis("batch", [batch for batch, _ in points], logarithmic=True)
        plots.append(Plot(f"{preset}: images per second", across, {"images per second": points}))
    return _drawn(plots)


def _drawn(plots: Sequence[Plot]) -> str | None:
    return side_by_side(plots) if plots else None
