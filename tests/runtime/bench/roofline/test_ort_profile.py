"""ONNX Runtime's profile: its events, and those of real runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsunet_runtime import read_manifest
from dsunet_runtime.bench.roofline import layer_profile
from dsunet_runtime.bench.roofline.layer_profile import medians, repeat
from dsunet_runtime.bench.roofline.ort_profile import as_layer_profile, count_graph, profile_onnx
from dsunet_runtime.errors import BackendError
from tests.runtime import artifacts


def event(name: str, operator: str, microseconds: int, *shapes: list[int]) -> dict[str, Any]:
    *inputs, output = [{"float": shape} for shape in shapes]
    found = {"op_name": operator, "input_type_shape": inputs, "output_type_shape": [output]}
    return {"name": f"{name}_kernel_time", "dur": microseconds, "args": found}


def run(matmul: int, addition: int) -> list[dict[str, Any]]:
    """The events of a run in which two nodes take so many microseconds."""
    return [
        event("hiera/MatMul", "MatMul", matmul, [4, 8], [8, 2], [4, 2]),
        event("hiera/Add", "Add", addition, [4, 2], [2], [4, 2]),
        {"name": "SequentialExecutor::Execute", "dur": 1000, "args": {}},
        {"name": "model_run", "dur": 1000, "args": {}},
    ]


def test_events_of_runs() -> None:
    """The median of each node, without the first run, which warms up."""
    loading = {"name": "session_initialization", "dur": 9, "args": {}}
    events = [loading, *run(900, 900), *run(10, 5), *run(30, 1), *run(20, 3)]
    profile = as_layer_profile(events, 0.5)
    assert profile.seconds == 0.5
    matmul, addition = profile.layers
    assert matmul.nodes == ("hiera/MatMul",)
    assert [layer.seconds for layer in (matmul, addition)] == pytest.approx([20e-6, 3e-6])
    assert (matmul.macs, addition.macs) == (64, 0)
    assert (matmul.bytes, addition.bytes) == (4 * (32 + 16 + 8), 4 * (8 + 2 + 8))
    assert profile.notes == []


def test_what_cannot_be_counted_is_named() -> None:
    hidden = event("hiera/Conv", "QLinearConv", 1, [1, 8, 3, 3], [], [1, 4, 1, 1])
    end = {"name": "model_run", "dur": 1, "args": {}}
    profile = as_layer_profile([hidden, end, hidden, end], 1.0)
    assert profile.layers[0].macs == 0
    (note,) = profile.notes
    assert "QLinearConv" in note


def test_a_real_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_profile, "_SECONDS", 0)
    path = artifacts.tensors(tmp_path / "a.onnx")
    hiera = np.ones((2, 3, artifacts.HIERA, artifacts.HIERA), np.float32)
    dino = np.ones((2, 3, artifacts.DINO, artifacts.DINO), np.float32)
    manifest = read_manifest(path)
    profile = profile_onnx(path, manifest, {"hiera": hiera, "dino": dino}, 1)
    # A 1×1 convolution of three channels to one; ONNX Runtime may fill that up to 8 or 16.
    exact = 2 * artifacts.HIERA**2 * 3
    counted = sum(layer.macs for layer in profile.layers)
    assert counted % exact == 0
    assert 1 <= counted // exact <= 16
    assert sum(layer.bytes for layer in profile.layers) > hiera.nbytes + dino.nbytes
    assert 0 < sum(layer.seconds for layer in profile.layers) < 1
    assert 0 < profile.seconds < 1
    assert sum(count_graph(path, manifest, {"hiera": hiera, "dino": dino}).values()) == exact
    wrong = np.ones((1, 5, 16, 16), np.float32)
    with pytest.raises(BackendError, match=r"a\.onnx: cannot be profiled: .*Got: 5 Expected: 3"):
        profile_onnx(path, manifest, {"hiera": wrong, "dino": dino}, 1)


def test_repeating(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_profile, "_SECONDS", 0)
    assert len(repeat(lambda: None)) == 3
    monkeypatch.setattr(layer_profile, "_SECONDS", 1)
    assert len(repeat(lambda: None)) == 30


def test_medians() -> None:
    assert medians([[1, 5], [3, 4], [2, 6]]) == [2, 5]
