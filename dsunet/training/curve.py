"""Plot the training curve of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dsunet.training.run_folder import LogRow
from dsunet_runtime.files import write_whole
from dsunet_runtime.message_text import printable

_VALIDATION = {"val_s": "S-measure (validation)", "val_mae": "MAE (validation)"}
_DOTS_UP_TO = 30
"""Maximum number of epochs that are drawn with markers; one epoch alone would give no line."""


def write_curve(rows: Sequence[LogRow], path: Path) -> None:
    """Write the curve as PNG: the loss of every epoch, S-measure and MAE of validated ones.

    Raises OutputError if the file cannot be written.
    """
    figure = plot_curve(rows, f"Training run {path.absolute().parent.name}")
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=120))


def plot_curve(rows: Sequence[LogRow], title: str) -> Figure:
    """Plot one or more epochs: the loss on the left axis, validation metrics on the right one."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="epoch", ylabel="training loss")
    axes.set_title(printable(title), parse_math=False)  # the name of a folder may hold anything
    marker = "o" if len(rows) <= _DOTS_UP_TO else ""
    epochs = [row["epoch"] for row in rows]
    lines = axes.plot(
        epochs, [row["loss"] for row in rows], "k", marker=marker, label="loss (training)"
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    largest = max((row["loss"] for row in rows if math.isfinite(row["loss"])), default=0)
    axes.set_ylim(0, 1.05 * largest or 1)
    validated = [row for row in rows if "val_s" in row]
    if validated:
        right = axes.twinx()
        right.set(ylabel="S-measure, MAE", ylim=(0, 1))
        for column, label in _VALIDATION.items():
            values = [row[column] for row in validated]
            lines += right.plot(
                [row["epoch"] for row in validated], values, marker=marker, label=label
            )
    axes.legend(handles=lines, loc="lower center", bbox_to_anchor=(0.5, -0.25), ncols=len(lines))
    axes.grid(alpha=0.3)
    return figure
