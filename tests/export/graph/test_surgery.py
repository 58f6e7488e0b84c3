"""Small changes of small graphs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from dsunet_export.graph.surgery import (
    fix_reshape_shapes,
    state_key,
    transpose_weights,
)
from tests.export.helpers import session

Array = np.ndarray[Any, Any]
FLOAT = ir.TensorType(ir.DataType.FLOAT)


def value(name: str, *shape: int | str) -> ir.Value:
    return ir.val(name, ir.DataType.FLOAT, shape)


def weight(name: str, array: Array) -> ir.Value:
    return ir.val(name, const_value=ir.tensor(array))


def make_model(
    inputs: list[ir.Value],
    outputs: list[ir.Value],
    nodes: list[ir.Node],
    initializers: list[ir.Value] | None = None,
) -> ir.Model:
    graph = ir.Graph(
        inputs, outputs, nodes=nodes, initializers=initializers or (), opset_imports={"": 20},
        name="test",
    )  # fmt: skip
    for output in outputs:
        output.type = output.type or FLOAT
    return ir.Model(graph, ir_version=9)


def run(model: ir.Model, **inputs: Array) -> Array:
    (result,) = session(ir.to_proto(model).SerializeToString()).run(None, inputs)
    return np.asarray(result)


class TestSettleReshapes:
    def make(self, shape: tuple[int | str | None, ...]) -> ir.Model:
        x, sizes = value("x", "batch", 6), ir.val("sizes", ir.DataType.INT64, [len(shape)])
        node = ir.node("Reshape", [x, sizes])
        node.outputs[0].name = "y"
        node.outputs[0].shape = ir.Shape(shape)
        model = make_model([x, sizes], [node.outputs[0]], [node])
        fix_reshape_shapes(model.graph)
        return model

    @pytest.mark.parametrize(
        ("shape", "settled"),
        [(("batch", 2, 3), [-1, 2, 3]), ((2, 6), [2, 6]), ((3, None), [3, -1])],
    )
    def test_one_unknown_axis(self, shape: tuple[int | str], settled: list[int]) -> None:
        *_, constant, reshape = self.make(shape).graph
        assert constant.op_type == "Constant"
        assert reshape.inputs[1] is constant.outputs[0]
        np.testing.assert_array_equal(constant.attributes["value"].as_tensor().numpy(), settled)

    @pytest.mark.parametrize("shape", [("batch", "rows", 3), (0, 6)])
    def test_shapes_that_no_constant_represents_stay(self, shape: tuple[int | str]) -> None:
        (reshape,) = self.make(shape).graph
        assert reshape.inputs[1].name == "sizes"


class TestTransposeWeights:
    def make(self, *orders: tuple[int, ...]) -> tuple[ir.Model, Array]:
        """Matmuls of x and a weight, transposed in several ways, all added up."""
        array = np.arange(9, dtype=np.float32).reshape(3, 3)
        x, w = value("x", 2, 3), weight("layer.weight", array)
        nodes = []
        for order in orders:
            transposed = ir.node("Transpose", [w], {"perm": order})
            nodes += [transposed, ir.node("MatMul", [x, transposed.outputs[0]])]
        total = ir.node("Sum", [node.outputs[0] for node in nodes[1::2]])
        return make_model([x], [total.outputs[0]], [*nodes, total], [w]), array

    def test_done_once(self) -> None:
        model, array = self.make((1, 0), (1, 0))
        transpose_weights(model.graph)
        assert [node.op_type for node in model.graph] == ["MatMul", "MatMul", "Sum"]
        assert list(model.graph.initializers) == ["layer.weight.T"]
        x = np.ones((2, 3), np.float32)
        np.testing.assert_array_equal(run(model, x=x), 2 * x @ array.T)

    def test_one_weight_in_two_orders(self) -> None:
        model, array = self.make((1, 0), (0, 1))
        transpose_weights(model.graph)
        x = np.arange(6, dtype=np.float32).reshape(2, 3)
        np.testing.assert_array_equal(run(model, x=x), x @ array.T + x @ array)
        assert len(model.graph.initializers) == 2

    def test_a_weight_that_is_also_used_as_it_is_stays(self) -> None:
        model, array = self.make((1, 0))
        first, *_ = model.graph
        untouched = ir.node("MatMul", [model.graph.inputs[0], first.inputs[0]])
        last = list(model.graph)[-1]
        model.graph.insert_before(last, untouched)
        last.replace_input_with(0, untouched.outputs[0])
        transpose_weights(model.graph)
        x = np.ones((2, 3), np.float32)
        np.testing.assert_array_equal(run(model, x=x), x @ array)

    def test_what_is_computed_is_transposed_where_it_is(self) -> None:
        x = value("x", 2, 3)
        node = ir.node("Transpose", [x], {"perm": (1, 0)})
        model = make_model([x], [node.outputs[0]], [node])
        transpose_weights(model.graph)
        assert [node.op_type for node in model.graph] == ["Transpose"]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("model.heads.0", "heads.0"),
        ("model", ""),
        ("models.0", "models.0"),
        ("preprocess", "preprocess"),
        ("val_3", "val_3"),
    ],
)
def test_state_key(name: str, key: str) -> None:
    assert state_key(name) == key
