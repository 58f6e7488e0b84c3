"""The encoders' matmuls in 8-bit integers: selection, quantisation and loss of accuracy."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from dsunet_export.errors import ExportError
from dsunet_export.graph.session import compute_logits
from dsunet_export.graph.values import array_of
from dsunet_export.options import ExportPrecision
from dsunet_export.precision.convert_graph import infer_types
from dsunet_export.probes import GraphInputs, Probe
from dsunet_export.quantization.calibration import calibrate, ranges_of
from dsunet_export.quantization.matmuls import find_matmuls
from dsunet_export.quantization.quantize import NARROWEST, QuantizationOptions, quantize
from dsunet_runtime.artifact.manifest import InputForm
from tests.export.graphs import graph
from tests.export.helpers import random_frames

WIDTH = 40
WEIGHT = "hiera.trunk.blocks.0.mlp.layers.0/MatMul"


def images(count: int, height: int = 8, width: int = 10) -> list[Probe]:
    return [Probe(f"image {n}", random_frames(1, height, width, n)[0]) for n in range(count)]


def one_matmul(weight: NDArray[np.float32], gain: float = 1.0) -> ir.Model:
    """From a frame to its pixels times a weight 3×N; one channel is `gain` times as large."""
    model = graph(
        [
            ("scale", "Mul", ["x", "gains"], {}),
            (WEIGHT, "MatMul", ["scale", "weight"], {}),
            ("logits", "Identity", [WEIGHT], {}),
        ],
        {"gains": np.array([1, 1, gain], np.float32), "weight": weight},
        shape=(1, 8, 10, 3),
    )
    # What GraphInputs gives a graph of frames, as floats.
    frames = model.graph.inputs[0]
    frames.name, frames.dtype = "image", ir.DataType.UINT8
    cast = ir.node("Cast", [frames], {"to": 1}, name="cast")
    cast.outputs[0].name, cast.outputs[0].dtype = "cast", ir.DataType.FLOAT
    first = model.graph[0]
    model.graph.insert_before(first, cast)
    first.replace_input_with(0, cast.outputs[0])
    return model


@pytest.fixture
def weight() -> NDArray[np.float32]:
    """Columns of very different sizes; the last has died."""
    columns = np.random.default_rng(3).normal(0, 1, (3, WIDTH)) * np.logspace(-3, 2, WIDTH)
    columns[:, -1] = 1e-12
    return columns.astype(np.float32)


FRAMES = GraphInputs(InputForm.FRAMES, {})


def int8(probes: Sequence[Probe], only_computed: Sequence[Probe] = ()) -> QuantizationOptions:
    return QuantizationOptions(ExportPrecision.INT8, (), probes, only_computed)


class TestMatmuls:
    def test_all_of_the_encoders_that_have_a_weight(self, traced: ir.Model) -> None:
        found = {matmul.name for matmul in find_matmuls(traced.graph)}
        weighted = {
            str(node.name)
            for node in traced.graph
            if node.op_type == "MatMul"
            and any(v is not None and v.is_initializer() for v in node.inputs)
        }
        adapters = {name for name in weighted if name.startswith("hiera.adapters.")}
        encoders = {name for name in weighted if name.startswith(("hiera.", "dino."))}
        assert adapters
        assert found == encoders - adapters

    def test_most_of_the_multiply_adds(self, traced: ir.Model) -> None:
        sizes = [array_of(matmul.weight).size for matmul in find_matmuls(traced.graph)]
        assert sum(sizes) > 1_000_000  # of nano's 1.9 M weights


class TestCalibration:
    def test_statistics_equal_numpy(self, tmp_path: Path, weight: NDArray[np.float32]) -> None:
        model, probes = one_matmul(weight, gain=7), images(4)
        infer_types(model)
        (matmul,) = find_matmuls(model.graph)
        found = calibrate(model, {matmul.activation}, probes, FRAMES, tmp_path)
        read = np.stack([probe.image for probe in probes[1:]]).astype(np.float64) * [1, 1, 7]
        measured = ranges_of(found, {probe.label for probe in probes[1:]})["scale"]
        assert measured.largest == read.max()
        assert measured.rms == pytest.approx(np.sqrt((read**2).mean()), rel=1e-6)
        step = read.max() / 127
        assert measured.noise == pytest.approx(step / np.sqrt(12) / measured.rms)
        assert len(found.logits) == 4

    @pytest.mark.parametrize(
        ("gain", "of_weight", "found"), [(np.inf, 1, "scale is"), (1, np.inf, "the logits are")]
    )
    def test_what_is_not_finite(
        self,
        gain: float,
        of_weight: float,
        found: str,
        tmp_path: Path,
        weight: NDArray[np.float32],
    ) -> None:
        model, probes = one_matmul(weight * np.float32(of_weight), gain), images(2)
        infer_types(model)
        (matmul,) = find_matmuls(model.graph)
        with pytest.raises(
            ExportError, match=f"^{found} not finite on image 0, in float32: check the checkpoint"
        ):
            calibrate(model, {matmul.activation}, probes, FRAMES, tmp_path)


class TestQuantized:
    def test_computes_what_numpy_computes(
        self, tmp_path: Path, weight: NDArray[np.float32]
    ) -> None:
        probes = images(3)
        model, precision, logits = quantize(
            one_matmul(weight), int8(probes[1:], probes[:1]), FRAMES, tmp_path
        )
        (result,) = compute_logits(model, [FRAMES.prepare(probes[1])], tmp_path)

        largest = max(probe.image.max() for probe in probes[1:])
        step = np.float64(largest) / 127
        read = np.rint(probes[1].image.astype(np.float64) / step) * step
        steps = np.maximum(np.abs(weight).max(0), NARROWEST) / 64
        rounded = np.rint(weight / steps) * steps
        # Float32 sums; a value halfway between two steps may go either way.
        assert np.isclose(result["logits"][0], read @ rounded, rtol=1e-4, atol=1e-6).mean() > 0.99
        assert np.abs(rounded - weight).max() > 1e-3  # or it was not quantised
        assert len(logits) == 3
        assert precision.quantized is not None
        assert precision.quantized.matmuls == precision.quantized.candidates == 1
        assert (precision.quantized.weights, precision.quantized.images) == (3 * WIDTH, 2)

    def test_floats_of_8_bits(self, tmp_path: Path, weight: NDArray[np.float32]) -> None:
        """Rounded by ml_dtypes, each column and the activation scaled to end at 448."""
        probes = images(3)
        task = QuantizationOptions(ExportPrecision.FP8, (), probes)
        model, precision, _ = quantize(one_matmul(weight), task, FRAMES, tmp_path)
        (result,) = compute_logits(model, [FRAMES.prepare(probes[0])], tmp_path)

        def rounded(x: NDArray[Any], largest: NDArray[Any]) -> NDArray[Any]:
            scale = (largest / 448).astype(np.float32)
            return (x / scale).astype(ml_dtypes.float8_e4m3fn).astype(np.float64) * scale

        largest = np.float32(max(probe.image.max() for probe in probes))
        columns = np.maximum(np.abs(weight).max(0), NARROWEST / 2)
        expected = rounded(probes[0].image.astype(np.float32), largest) @ rounded(weight, columns)
        assert np.isclose(result["logits"][0], expected, rtol=1e-4, atol=1e-6).mean() > 0.99
        exact = probes[0].image @ weight.astype(np.float64)
        assert np.abs(expected - exact).max() > 1e-3  # or it was not quantised
        assert precision.element_type == "float8e4m3fn"
        types = {v.name: v.dtype for v in model.graph.initializers.values()}
        assert ir.DataType.FLOAT8E4M3FN in types.values()
        assert ir.DataType.INT8 not in types.values()

    def test_nodes_are_named_after_their_module(
        self, tmp_path: Path, weight: NDArray[np.float32]
    ) -> None:
        model, _, _ = quantize(one_matmul(weight), int8(images(1)), FRAMES, tmp_path)
        module = WEIGHT.partition("/")[0]
        added = [str(n.name) for n in model.graph if n.op_type.endswith("Linear")]
        assert sorted(added) == [
            f"{module}/DequantizeLinear",
            f"{module}/DequantizeLinear_1",
            f"{module}/QuantizeLinear",
        ]

    def test_scales_survive_float16(self, tmp_path: Path, weight: NDArray[np.float32]) -> None:
        model, _, _ = quantize(one_matmul(weight), int8(images(1)), FRAMES, tmp_path)
        scales = [
            array_of(node.inputs[1])  # type: ignore[arg-type]
            for node in model.graph
            if node.op_type == "DequantizeLinear"
        ]
        assert len(scales) == 2
        for scale in scales:
            assert (scale.astype(np.float16) > 0).all()

    def test_who_reads_the_same_is_one_matmul(
        self, tmp_path: Path, weight: NDArray[np.float32]
    ) -> None:
        """And another reader of it reads no integers."""
        model, probes = one_matmul(weight), images(2)
        graph, (node,) = model.graph, [n for n in model.graph if n.op_type == "MatMul"]
        narrow = ir.val("narrow", const_value=ir.tensor(weight[:, :7].copy(), name="narrow"))
        graph.register_initializer(narrow)
        second = ir.node("MatMul", [node.inputs[0], narrow], name="hiera.trunk.blocks.0.b/MatMul")
        others = [
            ir.node("Identity", [second.outputs[0]], name="second"),
            ir.node("Identity", [node.inputs[0]], name="other"),
        ]
        graph.insert_after(node, [second, *others])
        second.outputs[0].name = second.name
        for other in others:
            result = other.outputs[0]
            result.name, result.dtype = str(other.name), ir.DataType.FLOAT
            graph.outputs.append(result)
        quantized, precision, _ = quantize(model, int8(probes), FRAMES, tmp_path)

        operators = Counter(node.op_type for node in quantized.graph)
        assert (operators["MatMul"], operators["QuantizeLinear"]) == (1, 1)
        assert precision.quantized is not None
        assert precision.quantized.matmuls == 2
        (result,) = compute_logits(quantized, [FRAMES.prepare(probes[0])], tmp_path)
        assert result["second"].shape == (1, 8, 10, 7)
        np.testing.assert_array_equal(result["second"], result["logits"][..., :7])
        np.testing.assert_array_equal(result["other"][0], probes[0].image)

    def test_only_what_has_outliers_stays_in_float32(
        self, tmp_path: Path, weight: NDArray[np.float32]
    ) -> None:
        """A second matmul has the same input, with one pixel 10,000 times as large."""
        probes = images(2, 100, 100)
        model = _any_size(one_matmul(weight))
        graph, (node,) = model.graph, [n for n in model.graph if n.op_type == "MatMul"]
        gains = np.ones((100, 100, 3), np.float32)
        gains[0, 0] = 1e4
        gain = ir.val("gain", const_value=ir.tensor(gains, name="gain"))
        graph.register_initializer(gain)
        loud = ir.node("Mul", [node.inputs[0], gain], name="loud")
        noisy = ir.node("MatMul", [loud.outputs[0], node.inputs[1]], name="dino.vit.b/MatMul")
        result = ir.node("Identity", [noisy.outputs[0]], name="result")
        for added in (loud, noisy, result):
            added.outputs[0].name = added.name
        result.outputs[0].dtype = ir.DataType.FLOAT
        graph.insert_after(node, [loud, noisy, result])
        graph.outputs.append(result.outputs[0])
        _, precision, _ = quantize(model, int8(probes), FRAMES, tmp_path)
        (kept,) = precision.kept_in_float32
        assert (kept.pattern, kept.nodes) == ("dino.vit.b/MatMul", 1)
        read = np.stack([probe.image * gains.astype(np.float64) for probe in probes])
        found = re.match(r"its input has outliers of (\d+) times the RMS: rounding", kept.reason)
        assert found is not None
        assert int(found[1]) == round(read.max() / np.sqrt((read**2).mean()))
        assert precision.quantized is not None
        assert (precision.quantized.matmuls, precision.quantized.candidates) == (1, 2)

    def test_keep_fp32(self, tmp_path: Path, weight: NDArray[np.float32]) -> None:
        for pattern, complaint in (
            (WEIGHT, "no matrix multiplication is left"),
            ("sff*", "matches no matrix multiplication of an encoder"),
        ):
            task = QuantizationOptions(ExportPrecision.INT8, [pattern], images(1))
            with pytest.raises(ExportError, match=complaint):
                quantize(one_matmul(weight), task, FRAMES, tmp_path)

    def test_outliers_stay_in_float32(self, tmp_path: Path, weight: NDArray[np.float32]) -> None:
        probes = images(2, 60, 60)
        for probe in probes:
            probe.image[..., 2] = 0
            probe.image[0, 0, 2] = 255
        with pytest.raises(ExportError, match=r"^no matrix multiplication is left for int8"):
            quantize(_any_size(one_matmul(weight, gain=1e4)), int8(probes), FRAMES, tmp_path)


def _any_size(model: ir.Model) -> ir.Model:
    for value in (model.graph.inputs[0], *(node.outputs[0] for node in model.graph)):
        value.shape = None
    return model
