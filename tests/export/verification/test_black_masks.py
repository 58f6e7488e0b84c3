"""Exports of networks that find no object, in the images of the export or in any."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from typer.testing import CliRunner

import dsunet_export.onnx
import dsunet_runtime
from dsunet import demonstration_checkpoint, load_model, save_model
from dsunet_export.cli import app
from dsunet_runtime import SelfTestError, read_manifest
from dsunet_runtime.provider import Provider
from dsunet_runtime.selftest.comparison import check_passed, run_selftest
from tests.export.comparison.test_layers import planted
from tests.export.helpers import export, graph_of

BIAS = "heads.2.bias"
NOTE = "self-test: detects few faults: the network finds no object in its pictures"

Lowered = Callable[[float], tuple[Path, ir.Model]]


@pytest.fixture
def lowered(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lowered:
    """The demonstration checkpoint and its graph, with a number taken from all logits."""

    def make(by: float) -> tuple[Path, ir.Model]:
        model, graph = load_model(demonstration_checkpoint()), graph_of(trained)
        with torch.no_grad():
            model.get_parameter(BIAS).sub_(by)
        bias = graph.graph.initializers[BIAS]
        assert bias.const_value is not None
        bias.const_value = ir.tensor(bias.const_value.numpy() - np.float32(by))
        save_model(model, tmp_path / "lowered.safetensors")
        monkeypatch.setattr(dsunet_export.onnx, "trace_model", lambda model, options: graph)
        return tmp_path / "lowered.safetensors", graph

    return make


def test_black_masks_are_no_fault(lowered: Lowered, tmp_path: Path) -> None:
    checkpoint, _ = lowered(16)
    path = tmp_path / "black.onnx"
    result = export(checkpoint, "-o", path)
    assert result.exit_code == 0, result.stderr
    assert f"dsunet-export: {NOTE}" in result.stderr
    assert "have a range of 0 levels" in result.stderr
    assert NOTE.partition(": ")[2] in CliRunner().invoke(app, ["inspect", str(path)]).stdout
    with dsunet_runtime.load(path) as segmenter:
        assert not segmenter(np.full((40, 50, 3), 90, np.uint8)).any()


def test_a_wrong_graph_is_found_by_its_logits(lowered: Lowered, tmp_path: Path) -> None:
    """Its masks are black too."""
    checkpoint, graph = lowered(16)
    weight = graph.graph.initializers["heads.2.weight"]
    assert weight.const_value is not None
    weight.const_value = ir.tensor(weight.const_value.numpy() * np.float32(1.05))
    result = export(checkpoint, "-o", tmp_path / "black.onnx")
    assert result.exit_code == 1
    assert "does not compute what the model computes: on random" in result.stderr
    assert "logits differs by at most" in result.stderr
    assert not (tmp_path / "black.onnx").exists()


@pytest.mark.parametrize("place", ["hiera.trunk.blocks.2.mlp", "rfb.0"])
def test_the_selftest_of_faint_masks(lowered: Lowered, tmp_path: Path, place: str) -> None:
    """Up to level 7; it allows less than of bright ones, and finds what half a level would hide."""
    checkpoint, _ = lowered(9)
    path = tmp_path / "faint.onnx"
    result = export(checkpoint, "-o", path)
    assert result.exit_code == 0, result.stderr
    assert NOTE not in result.stderr
    points = [point for case in read_manifest(path).selftest for point in case.points]
    assert (min(points), max(points)) == (0, 7)
    other, _ = planted(path, tmp_path / "b.onnx", place)
    with dsunet_runtime.load(path) as intact, dsunet_runtime.load(other) as wrong:
        assert max(one.excess for one in run_selftest(intact)) < 0.2
        found = run_selftest(wrong)
        assert max(one.blocks for one in found) < 0.5
        with pytest.raises(SelfTestError, match="of 7 comparisons"):
            check_passed(found, wrong.manifest, Provider.CPU)
