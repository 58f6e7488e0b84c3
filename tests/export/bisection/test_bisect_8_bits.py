"""Outliers that ruin a matmul in 8 bits are found, and keeping what was found mends it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dsunet_export.onnx
import dsunet_runtime
from dsunet import demonstration_checkpoint, load_model, save_model
from dsunet.scenes import write_scenes
from dsunet_export.bisection import layers_to_keep
from dsunet_export.bisection.layers_to_keep import LayersToKeep, find_layers_to_keep
from dsunet_export.comparison.layers import compare_graphs
from dsunet_export.errors import ExportError
from dsunet_export.graph.values import array_of
from dsunet_export.probes import Probe, load_probes
from dsunet_export.quantization.quantize import NARROWEST
from dsunet_export.quantization.quantized_matmuls import read_quantized_matmuls
from tests.export.bisection.outliers import (
    MATMUL,
    NORM,
    Outlier,
    in_activation,
    in_weight,
    plant,
    quantize,
)
from tests.export.comparison.test_verify import verify
from tests.export.helpers import export, graph_of
from tests.runtime import artifacts

TOLERANCE = 3.0
"""Levels."""
OUTLIERS = [(in_weight, "int8"), (in_activation, "int8"), (in_weight, "fp8")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, 3, 5, size=160, workers=1)
    return folder / "Image"


@pytest.fixture(scope="module")
def scenes(folder: Path) -> list[Probe]:
    return load_probes(folder, None)


@pytest.fixture(scope="module")
def quantized(trained: Path, scenes: list[Probe], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quantize(trained, tmp_path_factory.mktemp("int8") / "b.onnx", scenes, "int8")


def find(a: Path, b: Path, scenes: list[Probe], tolerance: float = TOLERANCE) -> LayersToKeep:
    return find_layers_to_keep(a, b, scenes[:1], tolerance, lambda line: None)


@pytest.mark.parametrize(("outlier", "precision"), OUTLIERS)
def test_an_outlier(
    trained: Path, scenes: list[Probe], tmp_path: Path, outlier: Outlier, precision: str
) -> None:
    a = plant(trained, tmp_path / "a.onnx", outlier)
    b = quantize(a, tmp_path / "b.onnx", scenes, precision)
    fault = compare_graphs(a, b, None).at_fault
    assert fault is not None
    assert fault.node == f"{MATMUL}/MatMul"
    found = find(a, b, scenes)
    assert found.before > 1 >= found.after
    assert f"{MATMUL}/*" in found.patterns
    if precision == "int8":  # in 8-bit floats, more than is allowed is lost elsewhere too
        assert len(found.patterns) <= 2  # one beside it, of which the outlier takes the margin
    mended = quantize(a, tmp_path / "mended.onnx", scenes, precision, *found.patterns)
    with dsunet_runtime.load(a) as first, dsunet_runtime.load(mended) as second:
        for scene in scenes:
            difference = np.abs(first(scene.image).astype(int) - second(scene.image)).mean()
            assert difference <= TOLERANCE


def test_nothing_is_kept_where_nothing_is_wrong(
    trained: Path, quantized: Path, scenes: list[Probe]
) -> None:
    found = find(trained, quantized, scenes)
    assert found.groups == ()
    assert found.before <= 1


def test_the_emulation_is_the_artifact(trained: Path, quantized: Path, scenes: list[Probe]) -> None:
    """A tolerance just below and just above what the artifact loses, as users run it."""
    with dsunet_runtime.load(trained) as first, dsunet_runtime.load(quantized) as second:
        image = scenes[0].image
        loss = np.abs(first(image).astype(int) - second(image)).mean()
    assert find(trained, quantized, scenes, 1.05 * loss).before <= 1
    assert find(trained, quantized, scenes, 0.95 * loss).before > 1


def test_matmuls_that_were_merged(trained: Path, quantized: Path) -> None:
    """Each has the name and the weight of the float32 graph, but for rounding."""
    graph = graph_of(trained).graph
    originals = {
        str(node.name): array_of(node.inputs[1])
        for node in graph
        if node.op_type == "MatMul"
        and node.inputs[1] is not None
        and node.inputs[1].is_initializer()
    }
    found = read_quantized_matmuls(graph_of(quantized).graph)
    assert len(found) == 63
    for name, matmul in found.items():
        steps = np.maximum(np.abs(originals[name]).max(0), NARROWEST) / 63
        assert (np.abs(matmul.weight - originals[name]) <= steps).all()


def test_what_was_requested_before_is_still_needed(
    trained: Path, scenes: list[Probe], folder: Path, tmp_path: Path
) -> None:
    """The command writes it beside what it finds."""
    a = plant(trained, tmp_path / "a.onnx", in_weight)
    b = quantize(a, tmp_path / "b.onnx", scenes, "int8", "dino.vit.blocks.0*")
    patterns = tmp_path / "keep.txt"
    result = verify(a, b, "--images", folder, "--bisect", patterns, "--tolerance", 255)
    assert result.exit_code == 0, result.output
    assert f"--precision int8 --keep-fp32 @{patterns}" in result.stderr
    found = [line for line in patterns.read_text().splitlines() if not line.startswith("#")]
    assert found == ["dino.vit.blocks.0*", f"{MATMUL}/*"]


def test_the_way_out_of_a_failed_export(
    trained: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the message says: without verification, with --bisect, with what that wrote."""
    model = load_model(demonstration_checkpoint())
    weights = [model.get_parameter(f"{NORM}.{name}").data.numpy() for name in ("weight", "bias")]
    in_weight(*weights, model.get_parameter(f"{MATMUL}.weight").data.numpy().T)
    save_model(model, tmp_path / "model.safetensors")
    a = plant(trained, tmp_path / "a.onnx", in_weight)
    monkeypatch.setattr(dsunet_export.onnx, "trace_model", lambda *arguments: graph_of(a))
    b, keep = tmp_path / "b.onnx", tmp_path / "keep.txt"
    options = (tmp_path / "model.safetensors", "--precision", "int8", "--images", folder, "-o", b)
    refused = export(*options)
    assert refused.exit_code == 1
    way = "--precision int8 --no-verify", "--bisect keep.txt", "--keep-fp32 @keep.txt"
    assert all(step in refused.stderr for step in way)
    assert not b.exists()
    assert export(*options, "--no-verify").exit_code == 0
    searched = verify(a, b, "--images", folder, "--bisect", keep)
    assert f"--precision int8 --keep-fp32 @{keep}" in searched.stderr
    mended = export(*options, "--keep-fp32", f"@{keep}")
    assert mended.exit_code == 0, mended.output
    assert f"in float32: {MATMUL}/* (1 nodes)" in mended.stderr


def test_a_tolerance_that_nothing_meets(
    trained: Path, quantized: Path, scenes: list[Probe], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the float32 graph itself is outside."""
    monkeypatch.setattr(layers_to_keep, "_SAFE_FRACTION", -1.0)
    with pytest.raises(ExportError, match=r"even with all layers in float32: raise --tolerance"):
        find(trained, quantized, scenes, 0)


def test_another_model(quantized: Path, scenes: list[Probe], tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="export both from one model"):
        find(artifacts.tensors(tmp_path / "a.onnx"), quantized, scenes)
