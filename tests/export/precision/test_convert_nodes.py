"""Conversion of a graph to float16: types, casts and weights, first on small graphs."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest

from dsunet_export.errors import ExportError
from dsunet_export.precision.convert_graph import ConversionOptions, convert_graph
from dsunet_export.precision.convert_nodes import narrow
from dsunet_export.precision.emulate_rounding import emulate_rounding
from dsunet_export.precision.rules import RULES, KeptNodes, rules_for
from dsunet_export.precision.types import supports, variable_type_inputs
from dsunet_export.probes import GraphInputs, make_probes
from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.artifact.manifest import InputForm
from tests.export.graphs import Line, casts, chain, dtypes, graph, random_weight
from tests.export.helpers import session


def checked(model: ir.Model) -> ir.Model:
    """The model, whose types hold together: ONNX's own inference finds the same in strict mode."""
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)
    said = {v.name: v.type.tensor_type.elem_type for v in proto.graph.value_info}
    for value in inferred.graph.value_info:
        assert said.get(value.name, value.type.tensor_type.elem_type) == (
            value.type.tensor_type.elem_type
        )
    return model


class TestCasts:
    def test_inputs_and_outputs_keep_their_types(self) -> None:
        model = graph(chain("Sqrt", "Exp"))
        narrow(model, [], Compute.FP16)
        checked(model)
        assert casts(model) == [("x", "FLOAT16"), ("exp1.float16", "FLOAT")]
        (output,) = model.graph.outputs
        assert (output.name, output.dtype) == ("exp1", ir.DataType.FLOAT)

    def test_kept_node_is_float32(self) -> None:
        model = graph(chain("Sqrt", "Exp", "Sin", "Cos"))
        narrow(model, ["exp1", "cos3"], Compute.FP16)
        assert casts(checked(model)) == [
            ("x", "FLOAT16"), ("sqrt0", "FLOAT"), ("exp1", "FLOAT16"), ("sin2", "FLOAT"),
        ]  # fmt: skip
        assert dtypes(model)["exp1"] == dtypes(model)["cos3"] == "FLOAT"
        assert dtypes(model)["sqrt0"] == dtypes(model)["sin2"] == "FLOAT16"

    def test_one_cast_for_several_readers(self) -> None:
        lines = [
            ("a", "Sqrt", ["x"], {}),
            ("b", "Exp", ["a"], {}),
            ("c", "Sin", ["a"], {}),
            ("d", "Add", ["b", "c"], {}),
        ]
        model = graph(lines)
        narrow(model, ["b", "c", "d"], Compute.FP16)
        assert casts(checked(model)) == [("x", "FLOAT16"), ("a", "FLOAT")]

    def test_none_inside_what_is_kept(self) -> None:
        """Nodes that only move values do not round them on the way from float32 to float32."""
        model = graph(chain("Sqrt", "Transpose", "Relu", "Exp", "Transpose", "Sin"))
        narrow(model, ["sqrt0", "exp3"], Compute.FP16)
        assert casts(checked(model)) == [("exp3", "FLOAT16"), ("sin5.float16", "FLOAT")]

    def test_nodes_that_move_values_are_narrow_at_a_border(self) -> None:
        """Half the bytes to move."""
        model = graph(chain("Sqrt", "Transpose", "Exp", "Transpose", "Cos"))
        narrow(model, ["sqrt0", "cos4"], Compute.FP16)
        types = dtypes(checked(model))
        assert [types[n] for n in ("transpose1", "exp2", "transpose3")] == ["FLOAT16"] * 3
        assert casts(model) == [("sqrt0", "FLOAT16"), ("transpose3", "FLOAT")]

    def test_integers_become_the_narrow_type_at_once(self) -> None:
        lines = [
            ("shape", "Shape", ["x"], {}),
            ("floats", "Cast", ["shape"], {"to": 1}),
            ("y", "Sqrt", ["floats"], {}),
        ]
        model = graph(lines)
        narrow(model, [], Compute.FP16)
        assert casts(checked(model)) == [("shape", "FLOAT16"), ("y.float16", "FLOAT")]

    def test_an_input_of_fixed_type_stays(self) -> None:
        """The scales of Resize are float32 in ONNX whatever is resized."""
        lines = [("y", "Resize", ["x", "", "scales"], {"mode": "linear"})]
        scales = np.array([1, 1, 2, 2], np.float32)
        model = graph(lines, {"scales": scales}, shape=(1, 1, 4, 4))
        assert narrow(model, [], Compute.FP16).kept == 4
        assert model.graph.initializers["scales"].dtype is ir.DataType.FLOAT
        checked(model)


class TestWeights:
    def test_stored_as_they_are_used(self) -> None:
        weights = {"w": random_weight(4, 4), "both": random_weight(4, 4, seed=1)}
        lines = [
            ("a", "MatMul", ["x", "w"], {}),
            ("b", "MatMul", ["a", "both"], {}),
            ("c", "MatMul", ["b", "both"], {}),
        ]
        model = graph(lines, weights)
        result = narrow(checked(model), ["c"], Compute.FP16)
        stored = {name: v.const_value for name, v in model.graph.initializers.items()}
        assert {name: tensor.dtype.name for name, tensor in stored.items()} == {
            "w": "FLOAT16", "both": "FLOAT", "both.float16": "FLOAT16",
        }  # fmt: skip
        np.testing.assert_array_equal(stored["w"].numpy(), weights["w"].astype(np.float16))
        assert (result.reduced, result.kept) == (32, 16)

    @pytest.mark.parametrize(
        ("compute", "subnormal", "zeroed"), [(Compute.FP16, 2, 1), (Compute.BF16, 0, 0)]
    )
    def test_what_is_too_small_is_counted(
        self, compute: Compute, subnormal: int, zeroed: int
    ) -> None:
        # float16 has all its digits down to 6.1e-5, and something down to 6e-8.
        values = np.array([[1, 0, 1e-4, -5e-5, 1e-7, 1e-9]], np.float32)
        model = graph([("y", "Mul", ["x", "w"], {})], {"w": values}, shape=(6, 6))
        result = narrow(model, [], compute)
        assert (result.subnormal, result.zeroed) == (subnormal, zeroed)


@pytest.mark.parametrize(
    ("op_type", "opset", "known"), [("Conv", 20, False), ("Conv", 22, True), ("Add", 18, True)]
)
def test_operators_without_bfloat16(op_type: str, opset: int, known: bool) -> None:
    weights = {"w": random_weight(1, 1, 1, 1)}
    model = graph([("y", op_type, ["x", "w"], {})], weights, shape=(1, 1, 4, 4))
    (node,) = model.graph
    assert list(variable_type_inputs(node, opset)) == [0, 1]
    assert supports(node, "bfloat16", opset) is known
    assert supports(node, "float16", opset)


class TestFloatsThatFollowNothing:
    """Operators whose floats are float32 whatever they read: they stay, and are cast after."""

    @pytest.mark.parametrize(
        "lines",
        [
            [
                ("shape", "Shape", ["rows"], {}),
                ("a", "ConstantOfShape", ["shape"], {"value": ir.tensor(np.float32([3]))}),
            ],
            [("a", "RandomNormalLike", ["rows"], {"dtype": 1, "seed": 1.0})],
            [("a", "EyeLike", ["rows"], {"dtype": 1})],
            [("a", "RandomUniform", [], {"shape": [1, 48], "seed": 1.0})],
            [("a", "Constant", [], {"value": ir.tensor(np.ones((1, 48), np.float32))})],
            [
                ("min", "ReduceMin", ["rows"], {"keepdims": 0}),
                ("max", "ReduceMax", ["rows"], {"keepdims": 0}),
                ("step", "Sub", ["max", "min"], {}),
                ("a", "Range", ["min", "max", "step"], {}),
            ],
        ],
        ids=lambda lines: lines[-1][1],
    )
    def test_stay_in_float32(self, lines: list[Line], tmp_path: Path) -> None:
        rows = ("rows", "Flatten", ["x"], {})
        model = graph([rows, *lines, ("y", "Mul", ["rows", "a"], {})], shape=(1, 3, 4, 4))
        kept = reduced(model, tmp_path)
        assert kept == {"a": f"{lines[-1][1]} does not support float16 in opset 20"}
        assert dtypes(checked(model))["a"] == "FLOAT"

    @pytest.mark.parametrize("outputs", [1, 3])
    def test_only_those_that_are_there(self, outputs: int, tmp_path: Path) -> None:
        """A layer norm can give its mean and deviation too, which are float32."""
        lines = [("y", "Add", ["x", "w"], {})]
        model = graph(lines, {"w": random_weight(4)}, shape=(1, 3, 4, 4))
        last = model.graph.node("y")
        norm = ir.node("LayerNormalization", last.inputs, num_outputs=outputs, name="norm")
        for k, value in enumerate(norm.outputs):
            value.name = f"norm{k}"
        model.graph.insert_before(last, norm)
        last.replace_input_with(0, norm.outputs[0])
        last.replace_input_with(1, norm.outputs[-1])
        kept = reduced(model, tmp_path)
        assert set(kept) == ({"norm"} if outputs == 3 else set())
        assert dtypes(checked(model))["norm"] == ("FLOAT" if outputs == 3 else "FLOAT16")


class TestIntegers:
    """Integers are computed in float32: float16 cannot represent every integer above 2048."""

    def test_are_those_of_float32(self, tmp_path: Path) -> None:
        lines = [
            ("a", "Mul", ["x", "w"], {}),
            ("b", "Transpose", ["a"], {}),
            ("whole", "Cast", ["b"], {"to": int(ir.DataType.INT32)}),
            ("f", "Cast", ["whole"], {"to": int(ir.DataType.FLOAT)}),
            ("y", "Mul", ["f", "small"], {}),
        ]
        weights = {"w": np.array(1001, np.float32), "small": np.array(2**-10, np.float32)}
        model = graph(lines, weights, shape=(1, 3, 4, 4))
        kept = reduced(model, tmp_path)
        reason = (
            "whole converts it to integers, and float16 cannot represent every integer above 2048"
        )
        assert kept == {"a": reason}
        assert casts(checked(model)) == [
            ("b", "INT32"), ("whole", "FLOAT16"), ("y.float16", "FLOAT")
        ]  # fmt: skip
        model.graph.outputs.append(model.graph.node("whole").outputs[0])
        x = np.arange(48, dtype=np.float32).reshape(1, 3, 4, 4)
        _, found = session(ir.to_proto(model).SerializeToString()).run(None, {"x": x})
        np.testing.assert_array_equal(found, 1001 * x.T)

    def test_that_the_graph_is_given(self, tmp_path: Path) -> None:
        """They are read as they come."""
        lines = [
            ("whole", "Cast", ["x"], {"to": int(ir.DataType.INT32)}),
            ("f", "Cast", ["whole"], {"to": int(ir.DataType.FLOAT)}),
            ("y", "Abs", ["f"], {}),
        ]
        model = graph(lines, shape=(1, 3, 4, 4))
        assert reduced(model, tmp_path) == {}
        assert casts(checked(model))[0] == ("x", "INT32")


def reduced(model: ir.Model, folder: Path) -> dict[str, str]:
    """Convert a small graph to float16; return what stays in float32, and why."""
    inputs = GraphInputs(InputForm.TENSORS, {"x": 4})
    options = ConversionOptions(Compute.FP16, (), make_probes((4, 4)))
    converted = convert_graph(model, options, inputs, folder)
    return {kept.pattern: kept.reason for kept in converted.precision.kept_in_float32}


class TestRounding:
    """The emulation, against NumPy, which rounds after every operation."""

    OPERATIONS = ("Sqrt", "Sin", "Exp", "Add", "Mul")

    @pytest.mark.parametrize(
        ("compute", "numpy_type"), [(Compute.FP16, np.float16), (Compute.BF16, ml_dtypes.bfloat16)]
    )
    def test_like_numpy(self, compute: Compute, numpy_type: type) -> None:
        factor = np.float32(2047.7)
        lines = [
            ("a", "Add", ["x", "c"], {}),
            ("b", "Transpose", ["a"], {}),
            ("d", "Sub", ["b", "c"], {}),
            ("e", "Mul", ["d", "c"], {}),
            ("f", "Mul", ["e", "c"], {}),
            ("y", "Div", ["f", "c"], {}),
        ]
        x = np.linspace(0.1, 20, 16, dtype=np.float32).reshape(4, 4)

        def rounded(array: np.ndarray) -> np.ndarray:
            with np.errstate(over="ignore"):
                return array.astype(numpy_type).astype(np.float32)

        c = rounded(factor)
        expected = rounded(rounded(rounded(x) + c).T - c)
        for operation in (np.multiply, np.multiply, np.divide):
            expected = rounded(operation(expected, c))
        model = graph(lines, {"c": np.array(factor)})
        narrow(model, [], compute)
        emulate_rounding(model, model.graph.initializers["c"].dtype)
        (found,) = session(ir.to_proto(model).SerializeToString()).run(None, {"x": x})
        np.testing.assert_array_equal(found, expected)
        # What makes this worth a test: here the formats differ from float32, and float16 overflows.
        assert np.abs(found - x.T * factor).max() > 100
        assert np.isinf(found).any() == (compute is Compute.FP16)

    def test_a_kept_node_alone_changes_nothing(self) -> None:
        """Softmax in float32 between float16 neighbours is the same softmax, rounded the same."""
        lines = [
            ("a", "MatMul", ["x", "w"], {}),
            ("s", "Softmax", ["a"], {"axis": -1}),
            ("y", "MatMul", ["s", "w"], {}),
        ]
        found = []
        for kept in ([], ["s"]):
            model = graph(lines, {"w": random_weight(4, 4)})
            narrow(model, kept, Compute.FP16)
            emulate_rounding(model, ir.DataType.FLOAT16)
            x = random_weight(4, 4, seed=2)
            found += session(ir.to_proto(model).SerializeToString()).run(None, {"x": x})
        np.testing.assert_array_equal(*found)


class TestSelection:
    NAMES = ("preprocess/Mul", "hiera.blocks.0/Gelu", "hiera.blocks.1/Gelu", "Resize")

    def test_each_node_is_counted_once(self) -> None:
        selection = KeptNodes(self.NAMES)
        selection.apply_rules(Compute.FP16)
        selection.request(["hiera.blocks.1/*", "*/Gelu"])
        counted = [(entry.pattern, entry.nodes) for entry in selection.entries]
        assert counted == [
            ("preprocess/*", 1), ("Resize*", 1), ("hiera.blocks.1/*", 1), ("*/Gelu", 1),
        ]  # fmt: skip
        assert selection.names == set(self.NAMES)
        assert [e.reason for e in selection.entries[:2]] == [rule.reason for rule in RULES[:2]]

    def test_rules_for_one_precision_only(self) -> None:
        kept = {}
        for compute in (Compute.FP16, Compute.BF16):
            selection = KeptNodes(["a/ConvTranspose", "a/Softmax_1", "a/Conv"])
            selection.apply_rules(compute)
            kept[compute] = selection.names
        assert kept[Compute.FP16] == {"a/Softmax_1"}
        assert kept[Compute.BF16] == {"a/Softmax_1", "a/ConvTranspose"}

    def test_a_pattern_that_matches_nothing(self) -> None:
        selection = KeptNodes(self.NAMES)
        with pytest.raises(ExportError, match=r"'hiera.block/Gelu' matches no.*blocks\.0/Gelu"):
            selection.request(["hiera.block/Gelu"])


REQUESTED = ("sff.2*", "dino.vit.norm/*")


@pytest.mark.parametrize("compute", [Compute.FP16, Compute.BF16])
def test_the_whole_network(traced: ir.Model, compute: Compute, tmp_path: Path) -> None:
    inputs = GraphInputs(InputForm.FRAMES, {})
    options = ConversionOptions(compute, REQUESTED, make_probes((40, 50)))
    patterns = [*(rule.pattern for rule in rules_for(compute)), *REQUESTED]

    def is_kept(name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in patterns)

    weights = set(traced.graph.initializers)
    traced, precision, _ = convert_graph(traced, options, inputs, tmp_path)
    checked(traced)
    assert list(tmp_path.iterdir()) == []
    assert precision.compute == compute.element_type
    assert [k.pattern for k in precision.kept_in_float32] == patterns
    narrow_type = ir.DataType[compute.element_type.upper()]
    for node in traced.graph:
        name, made = str(node.name), node.outputs[0].dtype
        if name.endswith((".float", f".{compute.element_type}")):
            before = node.inputs[0].producer()
            assert before is None or not str(before.name).endswith((".float", ".float16")), name
        elif made is not None and made.is_floating_point():
            assert made is (ir.DataType.FLOAT if is_kept(name) else narrow_type), name
        if node.op_type == "LayerNormalization":
            stash = node.attributes.get("stash_type")
            assert stash is None or stash.as_int() == ir.DataType.FLOAT
    stored = traced.graph.initializers
    # Stored twice is only what both kinds of node read: small constants, and in bfloat16 the
    # wavelet's filters, which transform there and back.
    for name in set(stored) - weights:
        assert stored[name].const_value.size <= 4 or (
            compute is Compute.BF16 and "wavelet" in str(stored[name].uses()[0].node.name)
        )
    for name, value in stored.items():
        users = [str(use.node.name) for use in value.uses()]
        if value.dtype is ir.DataType.FLOAT:
            assert all(is_kept(user) for user in users), name
        elif value.dtype is narrow_type:
            assert not any(is_kept(user) for user in users), name
    assert precision.weights is not None
    sizes = precision.weights.reduced, precision.weights.kept
    assert sizes[0] > 0.95 * sum(sizes)
