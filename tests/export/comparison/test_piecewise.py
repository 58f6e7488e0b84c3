"""A graph that runs in pieces computes what it computes at once, and every node once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from dsunet_export.comparison import piecewise
from dsunet_export.comparison.layers import compare_graphs
from dsunet_export.comparison.piecewise import PiecewiseRun
from dsunet_export.graph.session import GraphSession
from tests.export.graphs import Line, graph, random_weight

LINES: list[Line] = [
    ("first", "MatMul", ["x", "w"], {}),
    ("second", "Relu", ["first"], {}),
    ("third", "MatMul", ["second", "v"], {}),
    ("skip", "Add", ["third", "first"], {}),
    ("clipped", "Clip", ["skip", "", "top"], {}),
    ("last", "Add", ["clipped", "x"], {}),
]
WEIGHTS = {"w": random_weight(4, 4), "v": random_weight(4, 4, seed=1), "top": np.float32(0.5)}


@pytest.mark.parametrize(
    "order",
    [
        [["first"], ["second", "third"], ["skip"], ["clipped", "last"]],
        [["last"], ["second"], ["first", "third"]],
        [["third", "last", "second", "skip"]],
    ],
)
def test_against_one_run(order: list[list[str]], tmp_path: Path) -> None:
    """In any order, for two inputs; a skip leads over a piece."""
    weights = {name: np.asarray(array) for name, array in WEIGHTS.items()}
    inputs = [{"x": random_weight(4, 4, seed=seed)} for seed in (2, 3)]
    model = graph(LINES, weights)
    made = {str(node.name): node.outputs[0] for node in model.graph}
    wanted = [name for names in order for name in names]
    run = PiecewiseRun(model, [made[name] for name in wanted], inputs, tmp_path)
    found: list[dict[str, Any]] = [{}, {}]
    for names in order:
        for each, arrays in zip(found, run.compute([made[name] for name in names]), strict=True):
            each.update(zip(names, arrays, strict=True))
    for each, given in zip(found, inputs, strict=True):
        x, w, v = given["x"], weights["w"], weights["v"]
        first = x @ w
        third = np.maximum(first, 0) @ v
        clipped = np.minimum(third + first, 0.5)
        expected = {
            "first": first,
            "second": np.maximum(first, 0),
            "third": third,
            "skip": third + first,
            "clipped": clipped,
            "last": clipped + x,
        }
        for name in wanted:
            np.testing.assert_allclose(each[name], expected[name], rtol=1e-5, atol=1e-6)
    assert not list(tmp_path.iterdir())


def test_few_tensors_at_once_and_every_node_once(
    frames: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory does not grow with the depth of the network."""
    outputs: list[int] = []
    nodes: list[str] = []

    class Counted(GraphSession):
        def __init__(self, model: ir.Model, folder: Path) -> None:
            outputs.append(len(model.graph.outputs))
            nodes.extend(str(node.name) for node in model.graph)
            super().__init__(model, folder)

    monkeypatch.setattr(piecewise, "GraphSession", Counted)
    layers = compare_graphs(frames, frames, None).layers
    assert len(layers) > 300
    assert len(outputs) > 2 * len(layers) / 10
    # Eight that are compared, and what later pieces read.
    assert max(outputs) < 30
    assert len(nodes) == 2 * len(set(nodes))
