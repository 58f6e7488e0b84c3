"""Tracing: the graph computes what the module computes, and its names are those of modules."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

from dsunet import DSUNet, random_model
from dsunet_export.errors import ExportError
from dsunet_export.graph.forms import TensorsGraph
from dsunet_export.graph.trace import trace
from dsunet_export.onnx import apply_rewrites
from tests.export.helpers import SMALL, example, session

BATCH = {"hiera": {0: "batch"}, "dino": {0: "batch"}}


@pytest.fixture(scope="module")
def model() -> DSUNet:
    """With every rewrite."""
    model = random_model(SMALL)
    apply_rewrites(model, 0)
    return model


@pytest.fixture(scope="module")
def graph(model: DSUNet) -> ir.Model:
    return trace(TensorsGraph(model), example(SMALL, 2), "logits", BATCH, 20)


def run(graph: ir.Model, inputs: dict[str, Tensor]) -> np.ndarray[Any, Any]:
    feeds = {name: value.numpy() for name, value in inputs.items()}
    (result,) = session(ir.to_proto(graph).SerializeToString()).run(None, feeds)
    return np.asarray(result)


def compute(module: nn.Module, inputs: dict[str, Tensor]) -> np.ndarray[Any, Any]:
    with torch.inference_mode():
        return np.asarray(module(**inputs))


def assert_close(result: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> None:
    assert result.shape == expected.shape
    assert np.abs(result - expected).max() <= 1e-3 * expected.std()


class TestNumbers:
    @pytest.mark.parametrize("batch", [1, 2, 3])
    def test_any_batch(self, graph: ir.Model, model: DSUNet, batch: int) -> None:
        inputs = example(SMALL, batch, seed=batch)
        assert_close(run(graph, inputs), compute(TensorsGraph(model), inputs))

    def test_module_without_blocks(self) -> None:
        module = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
        inputs = {"input": torch.randn(2, 3)}
        graph = trace(module, inputs, "result", {"input": {0: "rows"}}, 20)
        more = {"input": torch.randn(7, 3)}
        assert_close(run(graph, more), compute(module, more))


def test_what_pytorch_cannot_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise RuntimeError("no\n  such operator")

    monkeypatch.setattr(torch.onnx, "export", fail)
    message = f"PyTorch {torch.__version__} cannot trace the model at opset 20: no such operator"
    with pytest.raises(ExportError) as raised:
        trace(nn.ReLU(), {"input": torch.zeros(2)}, "result", {}, 20)
    assert str(raised.value) == message


class TestNames:
    def test_nodes_are_called_after_modules(self, graph: ir.Model, model: DSUNet) -> None:
        modules = {name for name, _ in model.named_modules(remove_duplicate=False)}
        names = [str(node.name) for node in graph.graph]
        assert not [name for name, count in Counter(names).items() if count > 1]
        for name, node in zip(names, graph.graph, strict=True):
            module, _, operation = name.rpartition("/")
            assert re.fullmatch(rf"{node.op_type}(_\d+)?", operation)
            assert module in modules
        inside = {name.rpartition("/")[0] for name in names}
        for index in range(7):
            assert any(name.startswith(f"hiera.trunk.blocks.{index}.") for name in inside)
            assert any(name.startswith(f"hiera.adapters.{index}.") for name in inside)

    def test_values_are_unique_and_weights_are_called_as_in_the_state(
        self, graph: ir.Model, model: DSUNet
    ) -> None:
        values = [str(v.name) for node in graph.graph for v in node.outputs]
        names = [*values, *graph.graph.initializers, *(str(v.name) for v in graph.graph.inputs)]
        assert len(names) == len(set(names))
        keys = {*model.state_dict(), *(name for name, _ in model.named_buffers())}
        values = graph.graph.initializers.values()
        weights = [v for v in values if v.dtype == ir.DataType.FLOAT and v.const_value.size > 100]
        assert len(weights) > 100
        assert {str(v.name).removesuffix(".T") for v in weights} <= keys

    def test_weights_hold_the_models_numbers(self, graph: ir.Model, model: DSUNet) -> None:
        state = model.state_dict()
        for name, value in graph.graph.initializers.items():
            if name.removesuffix(".T") in state:
                expected = state[name.removesuffix(".T")].numpy()
                expected = expected.T if name.endswith(".T") else expected
                np.testing.assert_array_equal(value.const_value.numpy(), expected)


class TestFile:
    def test_nothing_of_this_machine(self, graph: ir.Model) -> None:
        data = ir.to_proto(graph).SerializeToString()
        for text in (Path(__file__).parents[3], Path(torch.__file__).parents[1], Path.home()):
            assert str(text).encode() not in data
        for text in (b"site-packages", b"Traceback"):
            assert text not in data
        values = (*graph.graph.inputs, *graph.graph.initializers.values())
        for part in (graph, graph.graph, *graph.graph, *values):
            assert not part.metadata_props
            assert not part.doc_string

    def test_valid_and_of_the_opset_asked_for(self, graph: ir.Model) -> None:
        proto = ir.to_proto(graph)
        onnx.checker.check_model(proto, full_check=True)
        assert [(opset.domain, opset.version) for opset in proto.opset_import] == [("", 20)]
        assert not proto.functions

    def test_nothing_left_to_do_at_run_time(self, graph: ir.Model) -> None:
        for node in graph.graph:
            assert node.op_type not in ("Constant", "Identity", "Dropout", "BatchNormalization")
            if node.op_type == "Transpose":
                assert not node.inputs[0].is_initializer()
            assert not all(v.is_initializer() for v in node.inputs if v is not None)
        used = {v for node in graph.graph for v in node.inputs}
        assert all(value in used for value in graph.graph.initializers.values())

    def test_inputs_and_outputs(self, graph: ir.Model) -> None:
        inputs = {v.name: [str(d) for d in v.shape] for v in graph.graph.inputs}
        assert inputs == {"hiera": ["batch", "3", "160", "160"], "dino": ["batch", "3", "98", "98"]}
        (logits,) = graph.graph.outputs
        assert logits.name == "logits"
        assert logits.dtype == ir.DataType.FLOAT
