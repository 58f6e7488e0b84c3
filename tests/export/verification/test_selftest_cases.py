"""Self-tests of exports: they pass on this machine, and find faults that are planted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import dsunet_runtime
from dsunet_export.convert_artifact import convert_artifact
from dsunet_export.verification.selftest_cases import with_measured_tolerances, with_tolerances
from dsunet_runtime import SelfTestError, read_manifest
from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.artifact.manifest import InputForm, Quantization, SelfTestCase
from dsunet_runtime.cli import app
from dsunet_runtime.provider import Provider
from dsunet_runtime.selftest.coarse import point_places
from dsunet_runtime.selftest.comparison import check_passed, run_selftest
from tests.export.comparison.test_layers import planted
from tests.runtime import artifacts

INT8 = Quantization("int8", matmuls=1, candidates=1, weights=1, images=1, noise=0.1)


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
        check_passed(run_selftest(segmenter), segmenter.manifest, Provider.CPU)


def converted(trained: Path, folder: Path, compute: Compute) -> Path:
    path = folder / f"{compute.element_type}.onnx"
    convert_artifact(trained, path, read_manifest(trained), compute, lambda step, seconds: None)
    return path


@pytest.fixture(scope="module")
def half(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return converted(trained, tmp_path_factory.mktemp("half"), Compute.FP16)


def test_a_converted_artifact_passes_closely(trained: Path, half: Path) -> None:
    manifest = read_manifest(half)
    before = read_manifest(trained).selftest
    for case, old in zip(manifest.selftest, before, strict=True):
        assert (case.blocks, case.points) == (old.blocks, old.points)
        assert 0.5 <= case.blocks_tolerance < 1.5  # six times the emulated rounding
        assert case.points_tolerance == pytest.approx(4 * case.blocks_tolerance)
    with dsunet_runtime.load(half) as segmenter:
        assert max(one.excess for one in run_selftest(segmenter)) < 1 / 3


@pytest.mark.parametrize("place", ["hiera.trunk.blocks.2.mlp", "rfb.0.branches.2.1", "sff.2.value"])
def test_a_wrong_weight_fails_in_float16(half: Path, tmp_path: Path, place: str) -> None:
    other, _ = planted(half, tmp_path / "b.onnx", place)
    with dsunet_runtime.load(other) as segmenter, pytest.raises(SelfTestError, match="of 7 comp"):
        check_passed(run_selftest(segmenter), segmenter.manifest, Provider.CPU)


def test_bfloat16_has_room_for_its_rounding(trained: Path, tmp_path: Path) -> None:
    """Eight times that of float16 is rounded away; the third picture shows it most."""
    path = converted(trained, tmp_path, Compute.BF16)
    tolerances = [case.blocks_tolerance for case in read_manifest(path).selftest]
    assert 0.5 < min(tolerances) < tolerances[2] < 3
    with dsunet_runtime.load(path, provider="openvino", selftest="never") as segmenter:
        assert max(one.excess for one in run_selftest(segmenter)) < 1


def test_measured_tolerances(tmp_path: Path) -> None:
    manifest = read_manifest(artifacts.frames(tmp_path / "frames.onnx"))
    zero = SelfTestCase(0, 16, 16, (0.0,) * 64, (0.0,) * 64, 1.0, 1.0)
    manifest = replace(manifest, selftest=(zero,) * 3)
    even, block, point = (np.zeros((1, 16, 16), np.uint8) for _ in range(3))
    even[:] = 2  # block means and points differ by 2
    block[0, :2, :2] = 64  # the mean of one block of 64
    y, x = point_places(16, 16)
    point[0, y[:32], x[:32]] = 200
    outputs = [{"mask": mask} for mask in (even, block, point)]
    measured = with_measured_tolerances(manifest, outputs).selftest
    assert [case.blocks_tolerance for case in measured][:2] == [12.0, 6.0]
    assert measured[2].points_tolerance >= 6 * point[0, y, x].mean()
    quantized = replace(manifest, precision=replace(manifest.precision, quantized=INT8))
    measured = with_measured_tolerances(quantized, outputs).selftest
    assert [case.blocks_tolerance for case in measured][:2] == [6.0, 3.0]


def test_tolerances_of_logits_follow_their_deviation(tmp_path: Path) -> None:
    manifest = read_manifest(artifacts.tensors(tmp_path / "tensors.onnx"))
    assert manifest.input_form is InputForm.TENSORS
    points = tuple(np.linspace(-3, 3, 64))
    case = SelfTestCase(0, 120, 160, (0.0,) * 64, points, 0.0, 0.0)
    (found,) = with_tolerances(replace(manifest, selftest=(case,))).selftest
    assert found.blocks_tolerance == pytest.approx(1e-3 * np.std(points))


def test_measured_tolerances_of_logits(tmp_path: Path) -> None:
    manifest = read_manifest(artifacts.tensors(tmp_path / "tensors.onnx"))
    logits = np.arange(64, dtype=np.float32).reshape(1, 1, 8, 8)
    y, x = point_places(8, 8)
    points = tuple(logits[0, 0, y, x].tolist())
    case = SelfTestCase(0, 8, 8, tuple(logits.ravel().tolist()), points, 1.0, 1.0)
    manifest = replace(manifest, selftest=(case, case))
    outputs = [{"logits": logits}, {"logits": logits + 1}]
    same, shifted = with_measured_tolerances(manifest, outputs).selftest
    assert same.blocks_tolerance == pytest.approx(1e-3 * np.std(points))
    assert shifted.blocks_tolerance == pytest.approx(6)
