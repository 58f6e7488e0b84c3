"""Weights beside the graph, for models that are too large for one file."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dsunet_export import artifact
from dsunet_runtime import read_manifest
from tests.export.helpers import NANO, command, export, one_line


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.setattr(artifact, "SINGLE_FILE_LIMIT", 1_000_000)
    result = export(*NANO, "-o", tmp_path / "pair" / "nano.onnx")
    assert result.exit_code == 0, result.output
    graph, weights = sorted((tmp_path / "pair").iterdir())
    assert (graph.name, weights.name) == ("nano.onnx", "nano.onnx.data")
    assert f"{graph} " in result.stdout
    assert f"{weights} " in result.stdout
    assert graph.stat().st_size < 1_000_000 < weights.stat().st_size
    return graph, weights


def predict(graph: Path, photo: NDArray[np.uint8]) -> subprocess.CompletedProcess[str]:
    image = graph.parent / "photo.png"
    Image.fromarray(photo).save(image)
    return command("predict", graph, image, "-o", graph.parent / "masks", program="dsunet-run")


def test_moves_together(pair: tuple[Path, Path], tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    moved = tmp_path / "elsewhere"
    pair[0].parent.rename(moved)
    graph = moved / "nano.onnx"
    (file,) = read_manifest(graph).files
    assert (file.name, file.size) == ("nano.onnx.data", (moved / "nano.onnx.data").stat().st_size)
    done = predict(graph, photo)
    assert done.returncode == 0, done.stderr
    done = command("inspect", graph)
    assert done.returncode == 0, done.stderr
    assert f"nano.onnx.data, {file.size / 1e6:.1f} MB, sha256 {file.sha256}" in done.stdout


def test_broken_in_every_way(pair: tuple[Path, Path], photo: NDArray[np.uint8]) -> None:
    graph, weights = pair
    whole = weights.read_bytes()
    exchanged = whole[:-4096] + bytes(4096)
    for content, match in (
        (None, "missing; nano.onnx stores its weights in it"),
        (whole[:-1], "cut short or replaced"),
        (exchanged, "not the file that nano.onnx was exported with"),
    ):
        weights.unlink(missing_ok=True)
        if content is not None:
            weights.write_bytes(content)
        for done, program in (
            (predict(graph, photo), "dsunet-run"),
            (command("inspect", graph), "dsunet-export"),
        ):
            assert done.returncode == 1
            line = one_line(done.stderr, program)
            assert str(weights) in line
            assert match in line
