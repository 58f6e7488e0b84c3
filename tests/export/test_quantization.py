"""The encoders' matmuls in 8-bit integers: which are quantised, how, and the loss of accuracy."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from PIL import Image
from py_sod_metrics import Smeasure
from typer.testing import CliRunner

import dsunet_runtime
from dsunet import load_model, random_model
from dsunet.demonstration import demonstration_checkpoint
from dsunet.scenes import write_scenes
from dsunet_export.cli import app
from dsunet_export.comparison.layers import compare_graphs
from dsunet_export.errors import ExportError
from dsunet_export.inspection import describe, verified_in_words
from dsunet_export.onnx import trace_model
from dsunet_export.options import ExportOptions, ExportPrecision
from dsunet_export.precision.narrow import array_of
from dsunet_export.precision.reduction import infer_types
from dsunet_export.precision.session import compute_logits
from dsunet_export.probes import GraphInputs, Probe
from dsunet_export.quantization import QuantizationOptions, quantize
from dsunet_export.quantization.calibration import calibrate
from dsunet_export.quantization.matmuls import find_matmuls
from dsunet_export.quantization.quantize import NARROWEST
from dsunet_runtime.images import as_rgb
from dsunet_runtime.manifest import InputForm, Manifest, MaskForm
from dsunet_runtime.masks import mask_from_logits
from tests.export.graphs import graph
from tests.export.helpers import NANO, SMALL, export, one_line, random_frames, reference_logits
from tests.runtime import artifacts

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


class TestProducts:
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
    def test_spreads_are_numpys(self, tmp_path: Path, weight: NDArray[np.float32]) -> None:
        model, probes = one_matmul(weight, gain=7), images(4)
        infer_types(model)
        (matmul,) = find_matmuls(model.graph)
        found = calibrate(model, {matmul.activation}, probes[:1], probes[1:], FRAMES, tmp_path)
        read = np.stack([probe.image for probe in probes[1:]]).astype(np.float64) * [1, 1, 7]
        measured = found.ranges["scale"]
        assert measured.largest == read.max()
        assert measured.rms == pytest.approx(np.sqrt((read**2).mean()), rel=1e-6)
        step = read.max() / 127
        assert measured.noise == pytest.approx(step / np.sqrt(12) / measured.rms)
        assert len(found.logits) == 4

    def test_what_is_not_finite(self, tmp_path: Path, weight: NDArray[np.float32]) -> None:
        model = one_matmul(weight, gain=np.inf)
        infer_types(model)
        (matmul,) = find_matmuls(model.graph)
        with pytest.raises(
            ExportError,
            match=r"^scale is not finite on one of the images, in float32: check the checkpoint",
        ):
            calibrate(model, {matmul.activation}, [], images(2), FRAMES, tmp_path)


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
        assert precision.quantized.products == precision.quantized.candidates == 1
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
        assert precision.quantized.products == 2
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
        assert (precision.quantized.products, precision.quantized.candidates) == (1, 2)

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


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight to calibrate on, and eight others."""
    folder = tmp_path_factory.mktemp("scenes")
    for name, seed in (("calibration", 11), ("evaluated", 12)):
        write_scenes(folder / name, 8, seed=seed, size=160, workers=1)
    return folder


@pytest.fixture(scope="module")
def artifact(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demonstration checkpoint in 8-bit integers."""
    path = tmp_path_factory.mktemp("artifact") / "int8.onnx"
    images = scenes / "calibration" / "Image"
    result = export(
        demonstration_checkpoint(), "-o", path, "--precision", "int8", "--images", images
    )
    assert result.exit_code == 0, result.output
    return path


def with_a_wrong_scale(source: Path, path: Path) -> tuple[Path, str]:
    """The artifact with the weights of one matmul times 1.5, and the name of that matmul."""
    model = onnx.load(source)
    scales = {
        node.output[0]: node.input[1]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear"
    }
    matmul = next(
        node
        for node in model.graph.node
        if node.name.startswith("hiera.trunk.blocks.3.mlp") and node.op_type == "MatMul"
    )
    scale = next(i for i in model.graph.initializer if i.name == scales[matmul.input[1]])
    scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale) * 1.5, scale.name))
    manifest = replace(dsunet_runtime.read_manifest(source), files=())
    return artifacts.write(path, model, manifest), matmul.name


class TestArtifact:
    def test_description(self, artifact: Path) -> None:
        precision = dsunet_runtime.read_manifest(artifact).precision
        assert (precision.compute, precision.element_type) == ("float32", "int8")
        assert precision.quantized is not None
        assert precision.quantized.products == precision.quantized.candidates
        assert precision.quantized.images == 8
        assert 0 < precision.quantized.noise < 0.2
        # 1.2 M of 1.9 M weights take a byte instead of four.
        assert artifact.stat().st_size < 0.65 * 4 * 1.9e6

    def test_loses_little(self, artifact: Path, scenes: Path) -> None:
        """By pysodmetrics, against PyTorch; the bound is the one that 200 scenes must keep."""
        model, scores = load_model(demonstration_checkpoint()), {}
        with dsunet_runtime.load(artifact) as segmenter:
            for name in ("PyTorch", "int8"):
                measure = Smeasure()
                for path in sorted((scenes / "evaluated" / "Image").iterdir()):
                    image = as_rgb(path)
                    if name == "int8":
                        mask = segmenter(image)
                    else:
                        logits = reference_logits(model, image)
                        mask = mask_from_logits(logits, image.shape[:2], MaskForm.STRETCHED)
                    ground_truth = Image.open(scenes / "evaluated" / "Mask" / f"{path.stem}.png")
                    measure.step(pred=mask, gt=np.asarray(ground_truth.convert("L")))
                scores[name] = measure.get_results()["sm"]
        assert scores["PyTorch"] > 0.8
        assert abs(scores["int8"] - scores["PyTorch"]) <= 0.01

    @pytest.mark.parametrize("batch", [None, 1])
    def test_onnx_runtime_computes_it_in_integers(
        self, artifact: Path, tmp_path: Path, batch: int | None
    ) -> None:
        """The graph as it runs; a matmul that it cannot fuse would be dequantised before it."""
        if batch is not None:  # all shapes are known, and other fusions come first
            fixed = trace_model(random_model(SMALL, 0), ExportOptions(batch=batch, size=(90, 120)))
            image = Probe("image", random_frames(1, 90, 120)[0])
            inputs = GraphInputs(InputForm.FRAMES, {}, batch, (90, 120))
            model, _, _ = quantize(fixed, int8([image]), inputs, tmp_path)
            artifact = tmp_path / "fixed.onnx"
            ir.save(model, artifact)
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
        options.log_severity_level = 3
        onnxruntime.InferenceSession(artifact, options, providers=["CPUExecutionProvider"])
        operators = Counter(node.op_type for node in ir.load(tmp_path / "optimised.onnx").graph)
        written = Counter(node.op_type for node in ir.load(artifact).graph)
        assert operators["MatMulIntegerToFloat"] == written["DequantizeLinear"] / 2 > 40
        assert operators["DequantizeLinear"] == 0

    def test_an_engine_in_integers(self, artifact: Path, tmp_path: Path) -> None:
        """TensorRT for RTX builds it without a GPU, the rest in float16."""
        pytest.importorskip("tensorrt_rtx")
        output = tmp_path / "x.engine"
        arguments = ["trt", str(artifact), "-o", str(output), "--gpu", "rtx4090"]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        manifest = Manifest.from_json((tmp_path / "x.engine.json").read_text())
        before = dsunet_runtime.read_manifest(artifact).precision
        assert manifest.precision.compute == "float16"
        assert manifest.precision.quantized == before.quantized
        assert manifest.engine is not None
        assert before.quantized is not None
        assert manifest.engine.proof.weight_bytes_quantized == before.quantized.weights

    def test_layer_by_layer(self, artifact: Path, tmp_path: Path) -> None:
        """No layer is at fault for being of 8 bits."""
        float32 = tmp_path / "float32.onnx"
        assert export(demonstration_checkpoint(), "-o", float32, "--no-verify").exit_code == 0
        compared = compare_graphs(float32, artifact, None)
        assert max(layer.own for layer in compared.layers) > 0.01
        assert compared.at_fault is None
        other, node = with_a_wrong_scale(artifact, tmp_path / "wrong.onnx")
        fault = compare_graphs(float32, other, None).at_fault
        assert fault is not None
        assert fault.node.rpartition("/")[0] == node.rpartition("/")[0]

    def test_inspect(self, artifact: Path) -> None:
        lines = describe(dsunet_runtime.read_manifest(artifact))
        assert re.search(
            r"quantised +63 of 63 matrix multiplications of the encoders, 1\.2 M weights", lines
        )

    def test_nothing_is_verified_twice(self, artifact: Path) -> None:
        lines = verified_in_words(dsunet_runtime.read_manifest(artifact), each=True)
        assert len(lines) == len(set(lines)) > 0


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "complaint", "code"),
        [
            ((), "give --images DIR", 2),
            (("--images", "none"), "none: ", 1),
        ],
    )
    def test_without_images(
        self, tmp_path: Path, options: tuple[str, ...], complaint: str, code: int
    ) -> None:
        out = tmp_path / "x.onnx"
        result = export(*NANO, "--precision", "int8", "-o", out, *options)
        assert result.exit_code == code
        assert complaint in one_line(result.stderr)
        assert not out.exists()
