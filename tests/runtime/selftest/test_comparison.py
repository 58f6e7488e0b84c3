"""Faults of a machine are found: planted at one batch, at one size, in one image, as NaN."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import dsunet_runtime
from dsunet_runtime import ArtifactError, Segmenter, SelfTestError, read_manifest
from dsunet_runtime.artifact.manifest import (
    FLOAT32_SCORES,
    UNFUSED_ATTENTION,
    KeptInFloat32,
    Manifest,
    Precision,
    Rewrite,
)
from dsunet_runtime.backends.interface import Backend, Tensors
from dsunet_runtime.provider import Provider
from dsunet_runtime.selftest.comparison import Comparison, batches, check_passed, run_selftest
from tests.runtime import artifacts
from tests.runtime.selftests import cases_for, give_selftest

Mask = NDArray[np.uint8]
Fault = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class FaultyBackend(Backend):
    """Computes what `artifacts.frames` does, and then a fault of the masks N×H×W."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        masks = np.stack([artifacts.expected_frames_mask(rgb) for rgb in inputs["image"]])
        return {"mask": self._fault(masks.astype(np.float32))}

    def close(self) -> None:
        pass


def run(tested: Path, fault: Fault) -> list[Comparison]:
    with Segmenter(read_manifest(tested), FaultyBackend(fault)) as segmenter:
        return run_selftest(segmenter)


def failures(found: list[Comparison]) -> set[tuple[int, int, int, int]]:
    return {
        (one.batch, one.place, one.case.height, one.case.picture) for one in found if not one.passed
    }


def test_an_artifact_passes(tested: Path) -> None:
    with dsunet_runtime.load(tested) as segmenter:
        found = run_selftest(segmenter)
    places = [(one.batch, one.place, one.case.picture) for one in found]
    # Pictures 0 and 1 have one size, picture 2 another.
    assert places == [
        *((1, 0, 0), (1, 0, 1), (1, 0, 2)),
        *((2, 0, 0), (2, 1, 1), (2, 0, 2), (2, 1, 2)),
    ]
    # References have five digits.
    assert max(one.excess for one in found) < 0.2
    check_passed(found, read_manifest(tested), None)


def wrong_at_batch_2(masks: NDArray[np.float32]) -> NDArray[np.float32]:
    return masks + 9 if len(masks) > 1 else masks


def first_image_everywhere(masks: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.broadcast_to(masks[:1], masks.shape)


def wrong_for_one_size(masks: NDArray[np.float32]) -> NDArray[np.float32]:
    return masks[:, ::-1] if masks.shape[1] == 33 else masks


def one_corner(masks: NDArray[np.float32]) -> NDArray[np.float32]:
    changed = masks.copy()
    changed[:, :5, :7] += 20
    return changed


def not_numbers(masks: NDArray[np.float32]) -> NDArray[np.float32]:
    changed = masks.copy()
    changed[:, 0, 0] = np.nan
    return changed


def pixels_shuffled_in_blocks(masks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Block means do not notice it; the points do."""
    changed = masks.copy()
    for rows in np.split(np.arange(40), 8) if masks.shape[1] == 40 else []:
        changed[:, rows] = masks[:, rows[::-1]]
    return changed


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (lambda masks: masks, set()),
        (wrong_at_batch_2, {(2, 0, 40, 0), (2, 1, 40, 1), (2, 0, 33, 2), (2, 1, 33, 2)}),
        (first_image_everywhere, {(2, 1, 40, 1)}),
        (wrong_for_one_size, {(1, 0, 33, 2), (2, 0, 33, 2), (2, 1, 33, 2)}),
        (pixels_shuffled_in_blocks, {(1, 0, 40, 0), (1, 0, 40, 1), (2, 0, 40, 0), (2, 1, 40, 1)}),
    ],
)
def test_faults_are_found(tested: Path, fault: Fault, expected: set[Any]) -> None:
    assert failures(run(tested, fault)) == expected


@pytest.mark.parametrize("fault", [one_corner, not_numbers])
def test_faults_everywhere(tested: Path, fault: Fault) -> None:
    found = run(tested, fault)
    assert len(failures(found)) == len(found)
    with pytest.raises(
        SelfTestError,
        match=r"7 of 7 comparisons .*the mask at batch .*--attention unfused, .*another provider",
    ):
        check_passed(found, read_manifest(tested), Provider.CUDA)


@pytest.mark.parametrize("provider", [Provider.CPU, Provider.OPENVINO])
def test_the_remedy_on_a_cpu(tested: Path, provider: Provider) -> None:
    with pytest.raises(SelfTestError, match=r"another provider or version .*--precision") as caught:
        check_passed(run(tested, one_corner), read_manifest(tested), provider)
    assert "--attention" not in str(caught.value)


def test_the_remedy_of_an_engine(tested: Path) -> None:
    with pytest.raises(SelfTestError, match=r"--attention unfused, .*try another driver"):
        check_passed(run(tested, one_corner), read_manifest(tested), None)


@pytest.mark.parametrize(
    "changes",
    [
        {"rewrites": (Rewrite(UNFUSED_ATTENTION, 1, 1),)},
        {"precision": Precision("float16", (KeptInFloat32("*", FLOAT32_SCORES, 1),))},
    ],
)
def test_a_remedy_that_was_tried_is_not_named(tested: Path, changes: dict[str, Any]) -> None:
    manifest = replace(read_manifest(tested), **changes)
    with pytest.raises(SelfTestError, match="another provider, driver") as caught:
        check_passed(run(tested, one_corner), manifest, Provider.CUDA)
    assert "--attention" not in str(caught.value)


@pytest.mark.parametrize("compute", ["float16", "bfloat16"])
def test_the_remedy_of_16_bits(tested: Path, compute: str) -> None:
    manifest = read_manifest(tested)
    narrowed = replace(manifest, precision=replace(manifest.precision, compute=compute))
    with pytest.raises(SelfTestError, match=r"export it again with --attention float32, "):
        check_passed(run(tested, one_corner), narrowed, Provider.CUDA)


def test_batch_1_is_the_remedy_where_it_is_right(tested: Path) -> None:
    with pytest.raises(
        SelfTestError,
        match=r"4 of 7.*the mask at batch 2.*batch 1 is right: .* --batch 1 --selftest never",
    ):
        check_passed(run(tested, wrong_at_batch_2), read_manifest(tested), None)


def test_an_artifact_without_a_self_test(tmp_path: Path) -> None:
    path = artifacts.frames(tmp_path / "old.onnx")
    with (
        dsunet_runtime.load(path) as segmenter,
        pytest.raises(ArtifactError, match=r"has no self-test.*: export it again"),
    ):
        run_selftest(segmenter)


def test_sizes_that_are_not_taken_are_left_out(tmp_path: Path) -> None:
    path = artifacts.frames(tmp_path / "fixed.onnx", height=40, width=60)
    give_selftest(path, cases_for())
    with dsunet_runtime.load(path) as segmenter:
        assert {one.case.picture for one in run_selftest(segmenter)} == {0, 1}
    give_selftest(path, cases_for(((8, 8),)))
    with (
        dsunet_runtime.load(path) as segmenter,
        pytest.raises(ArtifactError, match="takes none of the sizes"),
    ):
        run_selftest(segmenter)


@pytest.mark.parametrize(("batch", "expected"), [("batch", [1, 2]), (1, [1]), (4, [4])])
def test_batches(tmp_path: Path, batch: int | str, expected: list[int]) -> None:
    assert batches(read_manifest(artifacts.frames(tmp_path / "a.onnx", batch=batch))) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"picture": 3},
        {"picture": -1},
        {"height": 0},
        {"width": 16385},
        {"blocks": (1.0,) * 63},
        {"points": ()},
        {"blocks_tolerance": 0.0},
        {"points_tolerance": -1.0},
    ],
)
def test_values_out_of_bounds_are_refused(tested: Path, changes: dict[str, Any]) -> None:
    manifest = read_manifest(tested)
    broken = replace(manifest, selftest=(replace(manifest.selftest[0], **changes),))
    with pytest.raises(ArtifactError, match=r"selftest has (a|picture) "):
        Manifest.from_json(broken.to_json())


def test_more_cases_than_pictures_are_refused(tested: Path) -> None:
    """Each takes the time of an image at every `load`."""
    manifest = read_manifest(tested)
    many = replace(manifest, selftest=(*manifest.selftest, manifest.selftest[0]))
    with pytest.raises(ArtifactError, match="selftest has a number of cases above 3"):
        Manifest.from_json(many.to_json())
