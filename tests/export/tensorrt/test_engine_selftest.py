"""References of engines for frame sizes without references of the export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dsunet_export.tensorrt.engine_selftest import engine_selftest
from dsunet_runtime import read_manifest
from dsunet_runtime.artifact.manifest import OptimizationProfile, SelfTestCase
from dsunet_runtime.selftest.coarse import Coarse
from dsunet_runtime.selftest.pictures import picture
from tests.export.engines import ADA, built
from tests.runtime import artifacts
from tests.runtime.selftests import cases_for, give_selftest


def cases_of(path: Path, low: tuple[int, int], high: tuple[int, int]) -> tuple[SelfTestCase, ...]:
    """Return the cases of an engine with frames from `low` to `high`, which is also its optimum."""
    profile = OptimizationProfile("image", (1, *low, 3), (1, *high, 3), (4, *high, 3))
    return engine_selftest(path, read_manifest(path), [profile])


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """Its self-test has pictures of 40×60 and 33×17."""
    return give_selftest(artifacts.frames(tmp_path / "frames.onnx"), cases_for())


def test_sizes_that_are_taken_are_kept(graph: Path) -> None:
    assert cases_of(graph, (33, 17), (33, 17)) == read_manifest(graph).selftest


@pytest.mark.parametrize("batch", ["batch", 4])
def test_others_are_computed(tmp_path: Path, batch: int | str) -> None:
    graph = give_selftest(artifacts.frames(tmp_path / "a.onnx", batch=batch), cases_for())
    own = read_manifest(graph).selftest
    wide = (own[0], replace(own[1], blocks_tolerance=2.5, points_tolerance=7.5))
    found = cases_of(give_selftest(graph, wide), (50, 70), (50, 71))
    assert [(case.picture, case.height, case.width) for case in found] == [(0, 50, 71), (1, 50, 71)]
    for case in found:
        mask = artifacts.expected_frames_mask(picture(case.picture, 50, 71))
        expected = Coarse.of(mask)
        np.testing.assert_allclose(case.blocks, expected.blocks, rtol=1e-4)
        np.testing.assert_allclose(case.points, expected.points, rtol=1e-4)
        assert (case.blocks_tolerance, case.points_tolerance) == (2.5, 7.5)


def test_what_cannot_be_computed_is_left_out(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    assert cases_of(graph, (50, 70), (50, 70)) == ()


def test_a_graph_without_a_self_test(tmp_path: Path) -> None:
    assert cases_of(artifacts.frames(tmp_path / "old.onnx"), (50, 70), (50, 70)) == ()


def test_the_logits_have_one_size(tmp_path: Path) -> None:
    graph = give_selftest(artifacts.tensors(tmp_path / "tensors.onnx"), cases_for()[:1])
    manifest = read_manifest(graph)
    assert engine_selftest(graph, manifest, []) == manifest.selftest


def test_engines_have_them(float16: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    graph = tmp_path / "small.onnx"
    graph.write_bytes(float16.read_bytes())
    give_selftest(graph, cases_for())
    manifest, _ = built(graph, *ADA, "--size", "64x80", output=tmp_path / "small.engine")
    assert {(case.height, case.width) for case in manifest.selftest} == {(64, 80)}
