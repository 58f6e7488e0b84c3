"""Errors of layers, on `nano` with faults planted in known places."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from dsunet_export.comparison.layers import LayerError, compare_graphs, first_above, first_at_fault
from dsunet_export.errors import ExportError
from dsunet_export.probes import make_probes
from dsunet_runtime import read_manifest
from tests.export.comparison.test_verify import verify
from tests.export.helpers import NANO, export
from tests.runtime import artifacts

PLACES = ("hiera.trunk.blocks.2.mlp", "dino.vit.blocks.1.mlp.fc1", "rfb.1.branches.2")


def planted(source: Path, path: Path, place: str) -> tuple[Path, str]:
    """The graph with the first weight of a module one and a half times as large; and its node."""
    model = onnx.load(source)
    weights = {weight.name: weight for weight in model.graph.initializer}
    node = next(
        node
        for node in model.graph.node
        if node.name.startswith(place)
        and node.op_type in ("MatMul", "Conv", "Gemm")
        and any(name in weights for name in node.input)
    )
    weight = weights[next(name for name in node.input if name in weights)]
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * 1.5, weight.name))
    return artifacts.write(path, model, replace(read_manifest(source), files=())), node.name


@pytest.mark.parametrize("place", PLACES)
def test_the_planted_layer_is_the_first_at_fault(frames: Path, tmp_path: Path, place: str) -> None:
    other, node = planted(frames, tmp_path / "b.onnx", place)
    compared = compare_graphs(frames, other, None)
    layers, fault = compared.layers, compared.at_fault
    assert fault is not None
    assert fault.node == node
    assert fault.inherited == 0
    before = layers[: layers.index(fault)]
    assert all(layer.error == 0 for layer in before)
    assert layers[-1].error > 0


def test_a_graph_beside_itself(frames: Path) -> None:
    compared = compare_graphs(frames, frames, None)
    assert len(compared.layers) > 300
    assert {layer.error for layer in compared.layers} == {0}
    assert compared.at_fault is None


def test_errors_against_onnx_runtime(frames: Path, tmp_path: Path) -> None:
    other, _ = planted(frames, tmp_path / "b.onnx", PLACES[0])
    fault = compare_graphs(frames, other, None).at_fault
    assert fault is not None
    differences = magnitudes = 0.0
    for probe in make_probes(None):
        a, b = (_tensor(path, fault.tensor, probe.image) for path in (frames, other))
        differences += float(((b - a) ** 2).sum())
        magnitudes += float((a**2).sum())
    assert fault.error == pytest.approx(np.sqrt(differences / magnitudes), rel=1e-5)


def _tensor(path: Path, name: str, image: Any) -> Any:
    model = onnx.load(path)
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run([name], {"image": image[None]})[0].astype(np.float64)


def test_the_command_names_it(frames: Path, tmp_path: Path) -> None:
    other, node = planted(frames, tmp_path / "b.onnx", PLACES[1])
    out = tmp_path / "report"
    result = verify(frames, other, "--layers", "--tolerance", 255, "-o", out)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == f"first layer with an unusually large error: {node}"
    found = json.loads((out / "verify.json").read_text())
    assert found["first_at_fault"]["node"] == node
    assert node in (out / "verify.html").read_text()


def test_any_loss_is_large_relative_to_zero() -> None:
    layers = [LayerError("a", "a", 0.0, 0.0), LayerError("b", "b", 0.3, 0.0)]
    assert first_at_fault(layers) == layers[1]
    assert first_above(layers, 0.2) == layers[1]
    assert first_above(layers, 0.5) is None


def test_what_stays_in_float32_is_not_at_fault() -> None:
    layers = [LayerError("a", "a", 0.3, 0.0, kept=True), LayerError("b", "b", 0.5, 0.3)]
    assert first_at_fault(layers) == layers[1]
    assert first_at_fault(layers[:1]) is None


def test_frames_of_one_size_beside_any(frames: Path, tmp_path: Path) -> None:
    """Their resampling is another graph, whose nodes have names of the other's."""
    fixed = tmp_path / "fixed.onnx"
    assert export(*NANO, "--size", "96x130", "--no-verify", "-o", fixed).exit_code == 0
    layers = compare_graphs(frames, fixed, None).layers
    assert len(layers) > 300
    # ONNX Runtime fuses other nodes if all shapes are constant.
    assert max(layer.error for layer in layers) < 1e-4


def test_graphs_are_compared_with_graphs(frames: Path, tmp_path: Path) -> None:
    assert verify(frames, tmp_path / "a.engine", "--layers").exit_code == 2
    other = artifacts.tensors(tmp_path / "b.onnx")
    with pytest.raises(ExportError, match="no tensor names in common"):
        compare_graphs(frames, other, None)


def test_what_is_not_finite_is_at_fault_once() -> None:
    inf = float("inf")
    layers = [
        LayerError("a", "a", 1e-4, 0.0),
        LayerError("b", "b", 2e-4, 1e-4),
        LayerError("c", "c", inf, 2e-4),
        LayerError("d", "d", inf, inf),
    ]
    assert [layer.own for layer in layers][2:] == [inf, 0]
    assert first_at_fault(layers) == layers[2]
