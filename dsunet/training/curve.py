"""The course of a run as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dsunet.training.folder import Row
from dsunet_runtime.writing import write_whole


def draw_curve(rows: Sequence[Row], path: Path) -> None:
    """Draw the loss of every epoch, and the S-measure and MAE where there was validation.

    Raises OutputError if the file cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 4.5))
    axes = figure.add_subplot(xlabel="epoch", ylabel="loss")
    axes.plot([row["epoch"] for row in rows], [row["loss"] for row in rows], "k")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    judged = [row for row in rows if "val_s" in row]
    if judged:
        right = axes.twinx()
        right.set_ylabel("validation")
        right.set_ylim(0, 1)
        for column, label in (("val_s", "S-measure"), ("val_mae", "MAE")):
            right.plot(
                [row["epoch"] for row in judged], [row[column] for row in judged], label=label
            )
        right.legend(loc="center right")
    axes.set_ylim(0, 1.05 * max(row["loss"] for row in rows))
    axes.grid(alpha=0.3)
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=120))
