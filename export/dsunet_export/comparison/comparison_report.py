"""Format a comparison as a table and as JSON, and write its files."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dsunet.reports.contact_sheet import draw_sheet
from dsunet_export.comparison.comparison_page import comparison_page
from dsunet_export.comparison.layers import GraphComparison, LayerError
from dsunet_export.comparison.summary import PERCENTILES, ModelComparison, measure_title
from dsunet_runtime.files import make_folder, write_whole

TILE = 384
LAYERS_SHOWN = 15


def format_comparison(
    comparison: ModelComparison, tolerance: float, *, all_measures: bool = False
) -> str:
    """Format the worst image in a line, and the layer at fault in another, if there are layers.

    `tolerance` is that of the mean difference of a mask, in levels.  With `all_measures`, tables
    come first: all measures over the images, and the largest errors of the layers.
    """
    mask, images, graphs = comparison.worst.mask, len(comparison.rows), comparison.graphs
    on = f"{images} images, the worst " if images > 1 else ""
    lines = [
        f"{comparison.b} compared with {comparison.a} on {on}{comparison.worst.label}: masks "
        f"differ by {mask.mean:.3g} levels on average (tolerance {tolerance:g}), by at most "
        f"{mask.largest:g}; IoU at 0.5 {mask.iou:.4f}"
    ]
    if all_measures:
        lines = [*_measures(comparison), "", *(_layers(graphs) if graphs else ()), *lines]
    if graphs is not None:
        fault = graphs.at_fault
        lines.append(
            f"first layer with an unusually large error: {fault.node if fault else 'none'}"
        )
    return "\n".join(lines)


def _measures(comparison: ModelComparison) -> list[str]:
    """Make a table: percentiles over the images and the worst value of each measure."""
    percentiles = "".join(f"{f'{p} %':>11}" for p in PERCENTILES)
    lines = [f"{'':28}{percentiles}{'worst':>11}  image"]
    for output, measures in comparison.summaries.items():
        for name, summary in measures.items():
            cells = "".join(
                f"{_short(value):>11}" for value in (*summary.percentiles, summary.worst)
            )
            lines.append(f"{measure_title(output, name):28}{cells}  {summary.image}")
    return lines


def comparison_document(comparison: ModelComparison) -> dict[str, Any]:
    """Convert a comparison to JSON values: all measures, over the images and of each image."""
    graphs = comparison.graphs
    return {
        "format_version": 1,
        "a": comparison.a,
        "b": comparison.b,
        "images": len(comparison.rows),
        "percentiles": PERCENTILES,
        "outputs": {
            output: {name: dataclasses.asdict(summary) for name, summary in measures.items()}
            for output, measures in comparison.summaries.items()
        },
        "each": [dataclasses.asdict(row) for row in comparison.rows],
        "worst": comparison.worst.label,
        "layers": [_layer(layer) for layer in graphs.layers] if graphs else [],
        "first_at_fault": _layer(graphs.at_fault) if graphs else None,
    }


def write_comparison(comparison: ModelComparison, folder: Path) -> None:
    """Write verify.json, verify.html and worst.png, each atomically.

    worst.png shows the image, both masks and their difference.  Raises OutputError if a file cannot
    be written.
    """
    make_folder(folder)
    worst = draw_worst(comparison)
    document = json.dumps(comparison_document(comparison), indent=2) + "\n"
    write_whole(folder / "worst.png", lambda file: worst.save(file, "PNG"))
    write_whole(folder / "verify.json", lambda file: file.write(document.encode()))
    page = comparison_page(comparison, worst)
    write_whole(folder / "verify.html", lambda file: file.write(page.encode()))


def draw_worst(comparison: ModelComparison) -> Image.Image:
    """Draw the image, both masks and their difference, scaled so that the largest is white."""
    worst = comparison.worst
    difference = np.abs(worst.b.astype(np.int16) - worst.a)
    largest = int(difference.max())
    stretched = (255.0 * difference / max(1, largest)).astype(np.uint8)
    titles = (
        worst.label,
        f"A: {comparison.a}",
        f"B: {comparison.b}",
        f"difference (white: {largest} of 255)",
    )
    return draw_sheet([[worst.image, worst.a, worst.b, stretched]], TILE, titles)


def _layers(graphs: GraphComparison) -> list[str]:
    """List the layers with the largest own errors, in graph order."""
    layers = graphs.layers
    losing = sorted(layers, key=lambda layer: -layer.own)[:LAYERS_SHOWN]
    lines = [
        f"{'error':>10}{'inherited':>11}{'own':>10}  layer (largest own errors of {len(layers)})"
    ]
    lines += [
        f"{layer.error:10.2e}{layer.inherited:11.2e}{layer.own:10.2e}  {layer.node}"
        for layer in layers
        if layer in losing
    ]
    return [*lines, ""]


def _layer(layer: LayerError | None) -> dict[str, Any] | None:
    """Convert to JSON values, with null for infinity."""
    if layer is None:
        return None
    figures = {"error": layer.error, "inherited": layer.inherited, "own": layer.own}
    finite = {name: value if math.isfinite(value) else None for name, value in figures.items()}
    return {"tensor": layer.tensor, "node": layer.node, **finite}


def _short(value: float) -> str:
    return f"{value:.4g}"
