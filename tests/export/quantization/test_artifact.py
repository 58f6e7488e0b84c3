"""The demonstration checkpoint in 8-bit integers: its manifest, its accuracy, its engine."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import numpy_helper
from PIL import Image
from py_sod_metrics import Smeasure
from typer.testing import CliRunner

import dsunet_export.onnx
import dsunet_runtime
from dsunet import load_model, random_model
from dsunet.checkpoints.demonstration import demonstration_checkpoint
from dsunet.scenes import write_scenes
from dsunet_export.cli import app
from dsunet_export.comparison.layers import compare_graphs
from dsunet_export.manifest_text import describe_manifest, verified_in_words
from dsunet_export.onnx import apply_rewrites, trace_model
from dsunet_export.options import ExportOptions, ExportPrecision
from dsunet_export.probes import GraphInputs, Probe
from dsunet_export.quantization.quantize import QuantizationOptions, quantize
from dsunet_runtime.artifact.manifest import InputForm, Manifest
from dsunet_runtime.images.decode import as_rgb
from dsunet_runtime.masks.mask_from_logits import mask_from_logits
from tests.export.helpers import (
    NANO,
    export,
    graph_of,
    one_line,
    random_frames,
    reference_logits,
)
from tests.export.test_onnx_export import CASES
from tests.runtime import artifacts


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight to calibrate on, and eight others."""
    folder = tmp_path_factory.mktemp("scenes")
    for name, seed in (("calibration", 11), ("evaluated", 12)):
        write_scenes(folder / name, 8, seed=seed, size=160, workers=1)
    return folder


@pytest.fixture(scope="module")
def artifact(trained: Path, scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demonstration checkpoint in 8-bit integers, from the graph that was traced before."""
    path = tmp_path_factory.mktemp("artifact") / "int8.onnx"
    images = scenes / "calibration" / "Image"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dsunet_export.onnx, "trace_model", lambda *arguments: graph_of(trained))
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
        assert precision.quantized.matmuls == precision.quantized.candidates
        assert precision.quantized.images == 8
        assert 0 < precision.quantized.noise < 0.2
        # 1.2 M of 1.9 M weights take a byte instead of four.
        assert artifact.stat().st_size < 0.65 * 4 * 1.9e6

    def test_a_second_runtime_agrees(self, artifact: Path, scenes: Path) -> None:
        """Products of integers are exact in both.

        The float32 between them is summed in other orders, which may round to another integer.
        """
        pytest.importorskip("openvino", reason="OpenVINO is not installed")
        images = sorted((scenes / "evaluated" / "Image").iterdir())
        with (
            dsunet_runtime.load(artifact, provider="openvino", selftest="always") as openvino,
            dsunet_runtime.load(artifact) as onnx_runtime,
        ):
            pairs = zip(openvino.batch(images), onnx_runtime.batch(images), strict=True)
            means = [np.abs(a.astype(int) - b).mean() for a, b in pairs]
        assert max(means) < 0.5

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
                        form = segmenter.manifest.mask_form
                        mask = mask_from_logits(logits, image.shape[:2], form)
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
            case = CASES["fixed"]  # which is traced anyway
            model, size = random_model(case.config, 0), (61, 83)
            apply_rewrites(model, 0)
            options = ExportOptions(batch=batch, size=size, mask_form=case.mask, opset=case.opset)
            fixed = trace_model(model, options)
            image = Probe("image", random_frames(1, *size)[0])
            inputs = GraphInputs(InputForm.FRAMES, {}, batch, size)
            task = QuantizationOptions(ExportPrecision.INT8, (), [image], ())
            quantized, _, _ = quantize(fixed, task, inputs, tmp_path)
            artifact = tmp_path / "fixed.onnx"
            ir.save(quantized, artifact)
        session = onnxruntime.SessionOptions()
        session.optimized_model_filepath = str(tmp_path / "optimised.onnx")
        session.log_severity_level = 3
        onnxruntime.InferenceSession(artifact, session, providers=["CPUExecutionProvider"])
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
        assert manifest.engine.precision_report.weight_bytes_quantized == before.quantized.weights

    def test_layer_by_layer(self, trained: Path, artifact: Path, tmp_path: Path) -> None:
        """No layer is at fault for being of 8 bits."""
        compared = compare_graphs(trained, artifact, None)
        assert max(layer.own for layer in compared.layers) > 0.01
        assert compared.at_fault is None
        other, node = with_a_wrong_scale(artifact, tmp_path / "wrong.onnx")
        fault = compare_graphs(trained, other, None).at_fault
        assert fault is not None
        assert fault.node.rpartition("/")[0] == node.rpartition("/")[0]

    def test_inspect(self, artifact: Path) -> None:
        lines = describe_manifest(dsunet_runtime.read_manifest(artifact))
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
