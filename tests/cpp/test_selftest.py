"""The self-test computes the same comparisons as Python, and finds the same faults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import dsunet_runtime
from dsunet_runtime import SelfTestError, read_manifest
from dsunet_runtime.provider import Provider
from dsunet_runtime.selftest.comparison import check_passed, run_selftest
from tests.cpp import c_interface
from tests.cpp.c_interface import CallError, Library
from tests.runtime import artifacts, selftests


def artifact(path: Path, **changes: object) -> Path:
    return selftests.give_selftest(artifacts.frames(path, **changes), selftests.cases_for())  # type: ignore[arg-type]


@pytest.mark.parametrize("batch", ["batch", 1, 3])
def test_compares_as_python_does(library: Library, tmp_path: Path, batch: int | str) -> None:
    path = artifact(tmp_path / "a.onnx", batch=batch)
    with library.open(path) as segmenter, dsunet_runtime.load(path) as python:
        found, expected = segmenter.selftest(), run_selftest(python)
    worst = max(expected, key=lambda one: one.excess)
    assert (found.comparisons, found.failed) == (len(expected), 0)
    assert (found.batch, found.place, found.picture) == (
        worst.batch, worst.place, worst.case.picture,
    )  # fmt: skip
    assert (found.width, found.height) == (worst.case.width, worst.case.height)
    assert (found.blocks, found.points) == pytest.approx((worst.blocks, worst.points), rel=1e-12)
    assert (found.blocks_tolerance, found.points_tolerance) == (
        worst.case.blocks_tolerance, worst.case.points_tolerance,
    )  # fmt: skip


@pytest.mark.parametrize("compute", ["float32", "float16"])
@pytest.mark.parametrize("weights", [(1, 2, 4), (5, 2, 1), (0, 0, 0)])
def test_a_fault_is_named_in_the_same_words(
    library: Library, tmp_path: Path, weights: tuple[int, int, int], compute: str
) -> None:
    """Another network than the one whose references the manifest has."""
    path = artifact(tmp_path / "a.onnx", weights=np.float32(weights) / np.float32(8))
    manifest = read_manifest(path)
    precision = replace(manifest.precision, compute=compute)
    graph = path.read_bytes()[: manifest.graph.size]
    forged = replace(manifest, precision=precision)
    path.write_bytes(graph + dsunet_runtime.artifact.manifest_file.encode_manifest(forged))
    with dsunet_runtime.load(path) as python, pytest.raises(SelfTestError) as expected:
        check_passed(run_selftest(python), python.manifest, Provider.CPU)
    with library.open(path) as segmenter:
        result = c_interface.SelfTestResult()
        status = library.calls.dsunet_selftest(segmenter.handle, c_interface.c.byref(result))
        assert status == c_interface.SELFTEST
        assert library.calls.dsunet_last_error().decode() == str(expected.value)
        assert 0 < result.failed <= result.comparisons  # filled in nonetheless


@pytest.mark.parametrize("policy", [c_interface.AUTO, c_interface.NEVER])
def test_not_asked_for_on_the_cpu(library: Library, tmp_path: Path, policy: int) -> None:
    path = artifact(tmp_path / "a.onnx", weights=np.float32([0, 0, 1]))
    with library.open(path, selftest=policy):
        assert not list(tmp_path.glob("*.json"))


def test_asked_for_at_opening(library: Library, tmp_path: Path) -> None:
    path = artifact(tmp_path / "a.onnx", weights=np.float32([0, 0, 1]))
    with pytest.raises(CallError, match=r"a\.onnx: this machine does not compute .*NEVER") as fault:
        library.open(path, selftest=c_interface.ALWAYS)
    assert fault.value.status == c_interface.SELFTEST


def test_none_in_the_artifact(library: Library, tmp_path: Path) -> None:
    path = artifacts.frames(tmp_path / "a.onnx")
    with library.open(path) as segmenter, pytest.raises(CallError, match="has no self-test"):
        segmenter.selftest()


def test_none_of_its_sizes(library: Library, tmp_path: Path) -> None:
    path = artifact(tmp_path / "a.onnx", height=9, width=9)
    with library.open(path) as segmenter, pytest.raises(CallError, match="takes none of the sizes"):
        segmenter.selftest()
