"""Write a comparison as one self-contained HTML page, without scripts."""

from __future__ import annotations

import math

from PIL import Image

from dsunet.reports.html_page import element, embedded_image, page, table
from dsunet_export.comparison.layers import GraphComparison
from dsunet_export.comparison.summary import PERCENTILES, ModelComparison, measure_title
from dsunet_runtime.svg import Axis, Plot


def comparison_page(comparison: ModelComparison, worst: Image.Image) -> str:
    """Write the page, with the sheet of the worst image embedded."""
    caption = (
        f"Image, mask of A, mask of B, difference (white: {comparison.worst.mask.largest:g} levels)"
    )
    return page(
        f"{comparison.b} compared with {comparison.a}",
        [
            element("p", f"{len(comparison.rows)} images"),
            _table(comparison),
            *_plots(comparison),
            *_layers(comparison.graphs),
            element("h2", f"Worst image: {comparison.worst.label}"),
            element("p", caption),
            embedded_image(worst, "png"),
        ],
    )


def _table(comparison: ModelComparison) -> str:
    rows = [
        [
            measure_title(output, name),
            *(f"{value:.4g}" for value in (*summary.percentiles, summary.worst)),
            summary.image,
        ]
        for output, measures in comparison.summaries.items()
        for name, summary in measures.items()
    ]
    return table([*(f"{p} %" for p in PERCENTILES), "worst", "image"], rows)


def _plots(comparison: ModelComparison) -> list[str]:
    """Plot each measure of the masks over the images, sorted by its value."""
    masks = [row.mask for row in comparison.rows]
    crossing = [mask.flips + mask.disagreement for mask in masks]
    return [
        _sorted("mean difference", "levels of 255", [mask.mean for mask in masks]),
        _sorted("1 − IoU at threshold 0.5", "1 − IoU", [1 - mask.iou for mask in masks]),
        _sorted("pixels that cross threshold 0.5", "fraction of pixels", crossing),
    ]


def _layers(graphs: GraphComparison | None) -> list[str]:
    """Plot the error of each layer through the graph."""
    if graphs is None:
        return []
    shown = [
        (float(index), layer.error)
        for index, layer in enumerate(graphs.layers)
        if 0 < layer.error < math.inf
    ]
    if len(shown) < 2:
        return []
    up = Axis.decades([error for _, error in shown], "relative error")
    across = Axis.to(len(graphs.layers), "layer, in graph order")
    words = "none" if graphs.at_fault is None else graphs.at_fault.node
    errors = Plot("error by layer", across, {"error": shown}, up, dots=False)
    fault = element("p", f"First layer with an unusually large error: {words}")
    return [errors.draw(), fault]


def _sorted(title: str, up: str, values: list[float]) -> str:
    ordered = sorted(values)
    fractions = [(index + 0.5) / len(ordered) for index in range(len(ordered))]
    axis = Axis.to(max(ordered[-1], 1e-6), up)
    points = {title: list(zip(fractions, ordered, strict=True))}
    return Plot(title, Axis.unit("fraction of images"), points, axis).draw()
