"""Self-tests that exports write: they pass here, and find what is wrong elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import dsunet_runtime
from dsunet_export.precision import convert_file
from dsunet_export.selftest_cases import with_tolerances
from dsunet_runtime import SelfTestError, read_manifest
from dsunet_runtime.cli import app
from dsunet_runtime.compute import Compute
from dsunet_runtime.manifest import InputForm, SelfTestCase
from dsunet_runtime.provider import Provider
from dsunet_runtime.selftest.comparison import check, run_selftest
from tests.export.comparison.test_layers import planted
from tests.runtime import artifacts


def test_a_float32_export_passes_closely(trained: Path) -> None:
    manifest = read_manifest(trained)
    assert [(case.picture, case.height, case.width) for case in manifest.selftest] == [
        *((0, 120, 160), (1, 120, 160), (2, 211, 97))
    ]
    assert {case.blocks_tolerance for case in manifest.selftest} == {0.5}
    assert sum(np.std(case.blocks) > 10 for case in manifest.selftest) >= 2  # no blank masks
    with dsunet_runtime.load(trained) as segmenter:
        assert max(one.excess for one in run_selftest(segmenter)) < 0.2
    assert CliRunner().invoke(app, ["selftest", str(trained)]).exit_code == 0


@pytest.mark.parametrize(
    "place",
    ["hiera.trunk.blocks.2.mlp", "dino.vit.blocks.1.mlp", "rfb.1.branches.2", "sff.2.value"],
)
def test_a_wrong_weight_fails(trained: Path, tmp_path: Path, place: str) -> None:
    other, _ = planted(trained, tmp_path / "b.onnx", place)
    with dsunet_runtime.load(other) as segmenter, pytest.raises(SelfTestError, match="of 7 comp"):
        check(run_selftest(segmenter), segmenter.manifest, Provider.CPU)


def test_a_converted_artifact_has_the_tolerance_of_its_precision(
    trained: Path, tmp_path: Path
) -> None:
    half = tmp_path / "half.onnx"
    manifest = convert_file(
        trained, half, read_manifest(trained), Compute.FP16, lambda step, seconds: None
    )
    before = read_manifest(trained).selftest
    for case, old in zip(manifest.selftest, before, strict=True):
        assert (case.blocks, case.points) == (old.blocks, old.points)
        assert case.blocks_tolerance >= 2.55
        assert case.points_tolerance == pytest.approx(4 * case.blocks_tolerance)
    with dsunet_runtime.load(half) as segmenter:
        check(run_selftest(segmenter), segmenter.manifest, Provider.CPU)


def test_tolerances_of_logits_follow_their_deviation(tmp_path: Path) -> None:
    manifest = read_manifest(artifacts.tensors(tmp_path / "tensors.onnx"))
    assert manifest.input_form is InputForm.TENSORS
    points = tuple(np.linspace(-3, 3, 64))
    case = SelfTestCase(0, 120, 160, (0.0,) * 64, points, 0.0, 0.0)
    (found,) = with_tolerances(replace(manifest, selftest=(case,))).selftest
    assert found.blocks_tolerance == pytest.approx(1e-3 * np.std(points))
