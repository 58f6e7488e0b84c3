"""Graphs with weights in their file or beside it, before and after a conversion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from PIL import Image

import dsunet_runtime
from dsunet_export import artifact
from dsunet_export.bisection.layers_to_keep import find_layers_to_keep
from dsunet_export.comparison.layers import compare_graphs
from dsunet_export.probes import Probe
from dsunet_runtime import read_manifest
from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.artifact.integrity import check_hashes
from tests.export.engines import ADA, built
from tests.export.helpers import NANO, convert, export, random_frames

INSIDE, BETWEEN, BESIDE = 10**9, 5_000_000, 1_000_000
"""Limits in bytes: nano has 7.8 MB of weights in float32, 3.9 in float16 and less in 8 bits."""


@pytest.fixture
def source(request: pytest.FixtureRequest) -> Path:
    path: Path = request.getfixturevalue(request.param)
    return path


@pytest.fixture
def limit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(artifact, "SINGLE_FILE_LIMIT", request.param)
    limit: int = request.param
    return limit


def check(path: Path, limit: int) -> None:
    """Check that an artifact is complete and runs in another folder, in one file or in two."""
    moved = path.parent.with_name("moved")
    path.parent.rename(moved)
    path = moved / path.name
    manifest = read_manifest(path)
    check_hashes(path, manifest)
    named = {
        entry.value
        for weight in onnx.load(path, load_external_data=False).graph.initializer
        for entry in weight.external_data
        if entry.key == "location"
    }
    assert named == {file.name for file in manifest.files}
    assert named == (set() if limit > BESIDE else {f"{path.name}.data"})
    assert {file.name for file in moved.iterdir()} == {path.name, *named}
    if manifest.precision.compute != "bfloat16":  # which no CPU runs
        with dsunet_runtime.load(path) as segmenter:
            segmenter(random_frames(1, 64, 64)[0])


@pytest.mark.parametrize(
    ("source", "limit", "compute"),
    [
        ("frames", BESIDE, Compute.FP16),
        ("frames_beside", BETWEEN, Compute.FP16),
        ("frames_beside", BESIDE, Compute.FP16),
        ("frames_beside", BETWEEN, Compute.BF16),
    ],
    indirect=["source", "limit"],
)
def test_conversion(source: Path, limit: int, compute: Compute, tmp_path: Path) -> None:
    output = tmp_path / "out" / "nano.onnx"
    convert(source, output, compute)
    check(output, limit)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("limit", "options"),
    [
        (BETWEEN, ["fp16", "--keep-fp32", "sff.2*"]),
        (BETWEEN, ["int8"]),
        (BESIDE, ["fp8", "--no-verify"]),
    ],
    indirect=["limit"],
)
def test_export(limit: int, options: list[str], tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    """The float32 graph, which is run first, has its weights beside it."""
    output = tmp_path / "out" / "nano.onnx"
    if options[0] in ("int8", "fp8"):
        images = tmp_path / "images"
        images.mkdir()
        Image.fromarray(photo).save(images / "a.png")
        options = [*options, "--images", str(images)]
    result = export(*NANO, "--plain", "-o", output, "--precision", *options)
    assert result.exit_code == 0, result.output
    check(output, limit)


@pytest.mark.parametrize("limit", [BETWEEN], indirect=True)
def test_engine(frames_beside: Path, limit: int, tmp_path: Path) -> None:
    """The documented path of `large`: float32, converted to float16 on the way."""
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    manifest, engine = built(frames_beside, *ADA, output=tmp_path / "nano.engine")
    assert manifest.precision.compute == "float16"
    assert (
        engine.precision_report.weight_bytes_reduced > 0.95 * engine.precision_report.weight_bytes
    )


@pytest.mark.parametrize("limit", [BETWEEN], indirect=True)
def test_layers_and_search(frames_beside: Path, limit: int, tmp_path: Path) -> None:
    half = tmp_path / "half.onnx"
    convert(frames_beside, half)
    layers = compare_graphs(frames_beside, half, None).layers
    assert len(layers) > 300
    assert 0 < max(layer.error for layer in layers) < 0.5
    probe = Probe("noise", random_frames(1, 64, 64)[0])
    finding = find_layers_to_keep(frames_beside, half, [probe], 255, lambda line: None)
    assert finding.groups == ()
    assert np.isfinite(finding.before)
