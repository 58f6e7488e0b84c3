"""Artifacts as users export them, in every precision that ONNX Runtime's CPU provider computes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dsunet_runtime
from dsunet import demonstration_checkpoint
from dsunet_runtime.selftest.comparison import run_selftest
from tests.cpp.c_interface import OK, Library, SelfTestResult, c
from tests.export.helpers import export
from tests.made_once import made_once
from tests.once_per_structure import once_per_structure
from tests.threads import one_thread

__all__ = ["once_per_structure", "one_thread"]

ASSETS = Path(__file__).parents[2] / "assets"
EXPORTS = {
    "fp32": ("--precision", "fp32"),
    "fp16": ("--precision", "fp16"),
    "int8": ("--precision", "int8", "--images", ASSETS),
    "fp8": ("--precision", "fp8", "--images", ASSETS),
    "stretched": ("--mask", "stretched", "--precision", "fp32"),
    "fixed": ("--precision", "fp16", "--batch", 2, "--size", "121x255"),
}


@pytest.fixture(scope="module", params=EXPORTS)
def artifact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demonstration checkpoint, which is trained: masks with objects."""

    def make(folder: Path) -> None:
        shutil.copy(demonstration_checkpoint(), folder / "nano.safetensors")
        result = export(
            folder / "nano.safetensors", "--no-verify", *EXPORTS[request.param],
            "-o", folder / "nano.onnx",
        )  # fmt: skip
        assert result.exit_code == 0, result.output

    return made_once(tmp_path_factory, f"cpp-{request.param}", make) / "nano.onnx"


@pytest.fixture
def python(artifact: Path) -> Iterator[dsunet_runtime.Segmenter]:
    with dsunet_runtime.load(artifact) as segmenter:
        yield segmenter


def test_masks_of_photographs(
    library: Library, artifact: Path, python: dsunet_runtime.Segmenter
) -> None:
    """Of several sizes in one call, unless the artifact takes one."""
    photograph = Image.open(ASSETS / "astronaut.jpg").convert("RGB")
    (range_,) = {spec.shape[1:3] for spec in python.manifest.inputs}
    is_fixed = all(isinstance(side, int) for side in range_)
    sizes = [(255, 121)] * 3 if is_fixed else [(255, 121), (333, 500), (255, 121), (64, 1)]
    given = [np.asarray(photograph.rotate(20 * k).resize(size)) for k, size in enumerate(sizes)]
    with library.open(artifact, verify_hashes=1) as segmenter:
        for found, expected in zip(segmenter(*given), python.batch(given), strict=True):
            assert np.array_equal(found, expected)
        assert segmenter(given[0])[0].max() > 200


def test_the_selftest_is_that_of_python(
    library: Library, artifact: Path, python: dsunet_runtime.Segmenter
) -> None:
    """It passes, but for fp8: without verification, its tolerances are not measured."""
    expected = run_selftest(python)
    worst = max(expected, key=lambda one: one.excess)
    result = SelfTestResult()
    with library.open(artifact) as segmenter:
        status = library.calls.dsunet_selftest(segmenter.handle, c.byref(result))
    failed = sum(not one.passed for one in expected)
    assert (result.comparisons, result.failed) == (len(expected), failed)
    assert (status == OK) == (failed == 0)
    assert (result.blocks, result.points) == pytest.approx((worst.blocks, worst.points), rel=1e-9)
    assert worst.passed or python.manifest.precision.element_type == "float8e4m3fn"


def test_is_described(library: Library, artifact: Path, python: dsunet_runtime.Segmenter) -> None:
    with library.open(artifact) as segmenter:
        found = segmenter.describe()
        manifest = python.manifest
        assert found.precision.decode() == manifest.precision.element_type
        assert found.provider == b"cpu"
        assert found.machine == b""
        assert bool(found.is_probability) == (manifest.mask_form == "probability")
        assert (found.is_engine, found.weights_are_random) == (0, 0)
        batch = manifest.inputs[0].shape[0]
        assert found.batch.maximum == (batch if isinstance(batch, int) else 0)
        assert dsunet_runtime.Manifest.from_json(found.manifest.decode()) == manifest
