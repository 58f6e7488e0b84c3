"""The contents of curve.png."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dsunet.training.curve import plot_curve, write_curve

ROW = {"epoch": 1.0, "loss": 0.8}
VALIDATED = {"val_s": 0.7, "val_mae": 0.1}


def test_every_axis_and_line_has_its_name() -> None:
    figure = plot_curve(
        [ROW | VALIDATED, {"epoch": 2.0, "loss": 0.6} | VALIDATED], "Training run nano"
    )
    left, right = figure.axes
    assert left.get_title() == "Training run nano"
    assert (left.get_xlabel(), left.get_ylabel()) == ("epoch", "training loss")
    assert right.get_ylabel() == "S-measure, MAE"
    legend = left.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "loss (training)", "S-measure (validation)", "MAE (validation)",
    ]  # fmt: skip


def test_one_epoch_can_be_seen(tmp_path: Path) -> None:
    """One epoch gives no line: only a marker is drawn in colour."""
    path = tmp_path / "nano" / "curve.png"
    path.parent.mkdir()
    write_curve([ROW | VALIDATED], path)
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    blue = (pixels == (31, 119, 180)).all(axis=2)  # matplotlib's first colour: the S-measure
    height = len(blue)
    assert blue[: height * 3 // 4].sum() > 20  # in the plot, not only in the legend below it
    markers = {line.get_marker() for axes in plot_curve([ROW], "").axes for line in axes.lines}
    assert markers == {"o"}
    assert all(tick == int(tick) for tick in plot_curve([ROW], "").axes[0].get_xticks())


@pytest.mark.parametrize("loss", [math.nan, math.inf, 0.0])
def test_a_loss_that_is_no_height(loss: float, tmp_path: Path) -> None:
    write_curve([ROW, {"epoch": 2.0, "loss": loss}], tmp_path / "curve.png")
    write_curve([{"epoch": 1.0, "loss": loss}], tmp_path / "curve.png")
