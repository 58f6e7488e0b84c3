"""A comparison as a table for people, as JSON for programs, and as files."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dsunet.sheet import draw_sheet
from dsunet_export.comparison.layers import GraphComparison, LayerError
from dsunet_export.comparison.summary import PERCENTILES, ModelComparison
from dsunet_export.comparison.verify_page import draw_page
from dsunet_runtime.jobs import make_folder
from dsunet_runtime.output_files import write_whole

TILE = 384
LAYERS_SHOWN = 15


def draw(comparison: ModelComparison) -> str:
    """A line for each measure of each output: percentiles over the images, and the worst one."""
    percentiles = "".join(f"{f'{p} %':>11}" for p in PERCENTILES)
    lines = [
        f"B: {comparison.b}",
        f"beside A: {comparison.a}, on {len(comparison.rows)} images",
        "",
        f"{'':28}{percentiles}{'worst':>11}  image",
    ]
    for output, measures in comparison.summaries.items():
        for name, summary in measures.items():
            cells = "".join(
                f"{_short(value):>11}" for value in (*summary.percentiles, summary.worst)
            )
            lines.append(f"{output + ' ' + name.replace('_', ' '):28}{cells}  {summary.image}")
    if comparison.graphs is not None:
        lines += ["", *_layers(comparison.graphs)]
    return "\n".join(lines)


def as_document(comparison: ModelComparison) -> dict[str, Any]:
    """All measures, of every image too."""
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


def write_report(comparison: ModelComparison, folder: Path) -> None:
    """Write verify.json, verify.html and worst.png, each of them whole.

    The picture has the image, A's mask, B's and their difference side by side.  Raises OutputError
    if one cannot be written.
    """
    make_folder(folder)
    picture = draw_worst(comparison)
    document = json.dumps(as_document(comparison), indent=2) + "\n"
    write_whole(folder / "worst.png", lambda file: picture.save(file, "PNG"))
    write_whole(folder / "verify.json", lambda file: file.write(document.encode()))
    page = draw_page(comparison, picture)
    write_whole(folder / "verify.html", lambda file: file.write(page.encode()))


def draw_worst(comparison: ModelComparison) -> Image.Image:
    """Image, A, B, and their difference, stretched so that its largest is white."""
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
    """Those that lose most, in the graph's order, and the first that loses more than its share."""
    layers, fault = graphs.layers, graphs.at_fault
    losing = sorted(layers, key=lambda layer: -layer.own)[:LAYERS_SHOWN]
    lines = [f"{'error':>10}{'inherited':>11}{'own':>10}  of the {len(layers)} layers, the largest"]
    lines += [
        f"{layer.error:10.2e}{layer.inherited:11.2e}{layer.own:10.2e}  {layer.node}"
        for layer in layers
        if layer in losing
    ]
    return [*lines, f"first that loses more than its share: {fault.node if fault else 'none'}"]


def _layer(layer: LayerError | None) -> dict[str, Any] | None:
    """As JSON takes it: infinity is null."""
    if layer is None:
        return None
    figures = {"error": layer.error, "inherited": layer.inherited, "own": layer.own}
    finite = {name: value if math.isfinite(value) else None for name, value in figures.items()}
    return {"tensor": layer.tensor, "node": layer.node, **finite}


def _short(value: float) -> str:
    return f"{value:.4g}"
