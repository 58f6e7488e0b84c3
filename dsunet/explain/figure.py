"""The figure: one column for the image and one per level, two rows per encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from dsunet.data.image_files import LAST_OUTSIDE
from dsunet.explain.maps import FeatureMap
from dsunet.explain.projections import Embedding, PrincipalColours
from dsunet_runtime.files import write_whole

_PANEL = 2.6  # inches
_DPI = 110
_SHOWN = 600  # pixels of the image's longer side
_INSIDE, _OUTSIDE = (230, 120, 20), (60, 90, 150)


@dataclass(frozen=True, slots=True)
class Colouring:
    """The colours of points, by their position in the image."""

    title: str
    rgb: NDArray[np.uint8]
    """Colours H×W×3, of the image's size."""

    @classmethod
    def of_mask(cls, title: str, mask: NDArray[np.uint8]) -> Colouring:
        """Colour by a mask: orange where it is above 128, blue elsewhere."""
        inside = (mask > LAST_OUTSIDE)[:, :, None]
        return cls(title, np.where(inside, _INSIDE, _OUTSIDE).astype(np.uint8))

    @classmethod
    def of_position(cls, height: int, width: int) -> Colouring:
        """Colour by position: red increases to the right, green downwards."""
        rgb = np.full((height, width, 3), 90, np.uint8)
        rgb[:, :, 0] = np.linspace(0, 255, width).astype(np.uint8)
        rgb[:, :, 1] = np.linspace(0, 255, height).astype(np.uint8)[:, None]
        return cls("position", rgb)

    def at(self, embedding: Embedding, shape: Sequence[int]) -> NDArray[np.float64]:
        """Colours K×3, 0 to 1, of the points of a map C×h×w, at the centres of their cells."""
        height, width = self.rgb.shape[:2]
        rows = (embedding.rows + 0.5) * height / shape[1]
        columns = (embedding.columns + 0.5) * width / shape[2]
        colours: NDArray[np.float64] = self.rgb[rows.astype(int), columns.astype(int)] / 255
        return colours


@dataclass(frozen=True, slots=True)
class ProjectedMap:
    """A feature map and its projections."""

    map: FeatureMap
    colours: PrincipalColours
    embedding: Embedding


def write_figure(
    path: Path,
    image: NDArray[np.uint8],
    colouring: Colouring,
    encoders: Mapping[str, list[ProjectedMap]],
) -> None:
    """Draw the figure and write it as PNG.  Raises OutputError if it cannot be written."""
    columns = 1 + max(map(len, encoders.values()))
    rows = 2 * len(encoders)
    figure = Figure(figsize=(_PANEL * columns, _PANEL * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.set_axis_off()
    _show(grid[0, 0], _small(image), "image")
    _show(grid[1, 0], _small(colouring.rgb), f"colours of t-SNE:\n{colouring.title}")
    aspect = image.shape[0] / image.shape[1]
    for number, levels in enumerate(encoders.values()):
        for column, level in enumerate(levels, start=1):
            _plot_colours(grid[2 * number, column], level, aspect)
            _plot_points(grid[2 * number + 1, column], level, colouring)
    canvas = FigureCanvasAgg(figure)
    write_whole(path, lambda file: canvas.print_figure(file, dpi=_DPI, format="png"))


def _plot_colours(axes: Axes, level: ProjectedMap, aspect: float) -> None:
    variance = f"PCA, {level.colours.variance:.0%} of the variance"
    _show(axes, level.colours.rgb, _title(level, variance), aspect)


def _plot_points(axes: Axes, level: ProjectedMap, colouring: Colouring) -> None:
    shape = level.map.values.shape
    total = shape[1] * shape[2]
    count = len(level.embedding.points)
    of_all = f"{count} points" if count == total else f"{count} of {total} points"
    axes.set_axis_on()
    axes.set_box_aspect(1)
    axes.set_title(_title(level, f"t-SNE, {of_all}"), fontsize="small")
    x, y = level.embedding.points.T
    axes.scatter(
        x, y, s=min(30, 3 + 2000 / count), c=colouring.at(level.embedding, shape), linewidths=0
    )


def _title(level: ProjectedMap, line: str) -> str:
    return f"{level.map.name}, {level.map.shape_in_words}\n{line}"


def _show(axes: Axes, rgb: NDArray[np.uint8], title: str, aspect: float = 1) -> None:
    axes.imshow(rgb, aspect=aspect, interpolation="nearest")
    axes.set_title(title, fontsize="small")


def _small(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    image = Image.fromarray(rgb)
    image.thumbnail((_SHOWN, _SHOWN))
    return np.asarray(image)
