"""Write a comparison as one self-contained HTML page, without scripts."""

from __future__ import annotations

import base64
import io
import math
from html import escape

from PIL import Image

from dsunet_export.comparison.layers import GraphComparison
from dsunet_export.comparison.summary import PERCENTILES, ModelComparison, measure_title
from dsunet_runtime.svg import Axis, plot

_STYLE = """
body { font: 15px/1.4 sans-serif; margin: 2em; color: #222; }
table { border-collapse: collapse; }
th, td { padding: 3px 10px; text-align: right; }
th:first-child, td:first-child, td:last-child { text-align: left; }
thead { border-bottom: 1px solid #222; }
img { max-width: 100%; }
"""


def draw_page(comparison: ModelComparison, worst: Image.Image) -> str:
    """Write the page, with the sheet of the worst image embedded."""
    title = f"{comparison.b} compared with {comparison.a}"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n"
        f"<h1>{escape(title)}</h1>\n<p>{len(comparison.rows)} images</p>\n"
        f"{_table(comparison)}\n{_plots(comparison)}\n{_layers(comparison.graphs)}\n"
        f"<h2>Worst image: {escape(comparison.worst.label)}</h2>\n"
        f"<p>Image, mask of A, mask of B, difference (white: {comparison.worst.mask.largest:g} "
        f"levels)</p>\n{_embedded(worst)}\n</body></html>\n"
    )


def _table(comparison: ModelComparison) -> str:
    heading = "".join(f"<th>{name}</th>" for name in (*(f"{p} %" for p in PERCENTILES), "worst"))
    lines = [f"<table><thead><tr><th></th>{heading}<th></th></tr></thead><tbody>"]
    for output, measures in comparison.summaries.items():
        for name, summary in measures.items():
            cells = "".join(f"<td>{v:.4g}</td>" for v in (*summary.percentiles, summary.worst))
            label = escape(measure_title(output, name))
            lines.append(f"<tr><td>{label}</td>{cells}<td>{escape(summary.image)}</td></tr>")
    return "\n".join([*lines, "</tbody></table>"])


def _plots(comparison: ModelComparison) -> str:
    """Plot each measure of the masks over the images, sorted by its value."""
    masks = [row.mask for row in comparison.rows]
    crossing = [mask.flips + mask.disagreement for mask in masks]
    plots = [
        _sorted("mean difference", "levels of 255", [mask.mean for mask in masks]),
        _sorted("1 − IoU at threshold 0.5", "1 − IoU", [1 - mask.iou for mask in masks]),
        _sorted("pixels that cross threshold 0.5", "fraction of pixels", crossing),
    ]
    return "\n".join(plots)


def _layers(graphs: GraphComparison | None) -> str:
    """Plot the error of each layer through the graph."""
    if graphs is None:
        return ""
    shown = [
        (float(index), layer.error)
        for index, layer in enumerate(graphs.layers)
        if 0 < layer.error < math.inf
    ]
    if len(shown) < 2:
        return ""
    low, high = (math.log10(f(error for _, error in shown)) for f in (min, max))
    powers = range(math.floor(low), max(math.ceil(high), math.floor(low) + 1) + 1)
    up = Axis("relative error", [10.0**power for power in powers], logarithmic=True)
    across = Axis.to(len(graphs.layers), "layer, in graph order")
    words = "none" if graphs.at_fault is None else graphs.at_fault.node
    return (
        f"{plot('error by layer', across, up, {'error': shown})}\n"
        f"<p>First layer with an unusually large error: {escape(words)}</p>"
    )


def _sorted(title: str, up: str, values: list[float]) -> str:
    ordered = sorted(values)
    fractions = [(index + 0.5) / len(ordered) for index in range(len(ordered))]
    axis = Axis.to(max(ordered[-1], 1e-6), up)
    points = {title: zip(fractions, ordered, strict=True)}
    return plot(title, Axis.unit("fraction of images"), axis, points, dots=True)


def _embedded(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img src="data:image/png;base64,{data}">'
