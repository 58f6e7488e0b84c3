"""Artifacts in float16 and bfloat16: their content, their verification, and refusals."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes
import pytest
from numpy.typing import NDArray

import dsunet_runtime
from dsunet_export import artifact
from dsunet_export.artifact import append_manifest
from dsunet_export.convert_artifact import convert_artifact
from dsunet_export.errors import ExportError, VerificationError
from dsunet_export.precision.rules import rules_for
from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.artifact.file_digest import digest
from dsunet_runtime.artifact.manifest import METADATA_KEY, InputForm, TensorSpec
from tests.export.helpers import NANO, ROUNDED, convert, export


@pytest.fixture(scope="module")
def tensors(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`frames` without its image arithmetic: the form `tensors`, cut out of it."""
    model = ir.load(frames)
    graph = model.graph
    inputs = []
    for name, node in (("hiera", "hiera.trunk.patch_embed.proj/Conv"),
                       ("dino", "dino.vit.patch_embed.proj/Conv")):  # fmt: skip
        read = graph.node(node).inputs[0]
        size = read.shape[-1]
        inputs.append(ir.val(name, ir.DataType.FLOAT, ir.Shape(["batch", 3, size, size])))
        read.replace_all_uses_with(inputs[-1])
    logits = graph.node("Resize").outputs[0]
    # The batch size is read off the first input.
    graph.inputs[0].replace_all_uses_with(inputs[0])
    graph.inputs[:], graph.outputs[:] = inputs, [logits]
    passes.RemoveUnusedNodesPass()(model)
    logits.name = "logits"
    path = tmp_path_factory.mktemp("tensors") / "nano.onnx"
    manifest = replace(
        dsunet_runtime.read_manifest(frames),
        input_form=InputForm.TENSORS,
        inputs=tuple(
            TensorSpec(str(v.name), "float32", tuple(map(_plain, v.shape)), "NCHW", "")
            for v in inputs
        ),
        outputs=(TensorSpec("logits", "float32", ("batch", 1, 160, 160), "NCHW", ""),),
    )
    model.metadata_props.pop(METADATA_KEY)
    ir.save(model, path)
    append_manifest(path, replace(manifest, graph=digest(path)))
    return path


def _plain(dim: int | ir.SymbolicDim) -> int | str:
    return dim if isinstance(dim, int) else str(dim.value)


@pytest.fixture(scope="module")
def converted(
    frames: Path, tensors: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, Compute], Path]:
    """`frames` or `tensors` in a reduced precision, converted once."""
    sources = {"frames": frames, "tensors": tensors}

    @functools.cache
    def convert_once(form: str, compute: Compute) -> Path:
        path = tmp_path_factory.mktemp(form) / "nano.onnx"
        convert(sources[form], path, compute)
        return path

    return convert_once


@pytest.fixture(scope="module")
def frames_fp16(converted: Callable[[str, Compute], Path]) -> Path:
    return converted("frames", Compute.FP16)


def test_description(frames_fp16: Path, frames: Path) -> None:
    before, after = map(dsunet_runtime.read_manifest, (frames, frames_fp16))
    for field in ("inputs", "outputs", "model", "preprocessing", "macs", "rewrites"):
        assert getattr(before, field) == getattr(after, field)
    for values in ("input", "output"):
        wide, narrow = (getattr(onnx.load(path).graph, values) for path in (frames, frames_fp16))
        assert narrow == wide
    precision = after.precision
    assert precision.compute == "float16"
    assert [k.pattern for k in precision.kept_in_float32] == [
        rule.pattern for rule in rules_for(Compute.FP16)
    ]
    assert 0 < precision.peaks[-1].magnitude < precision.peaks[0].magnitude < 65504 / 4
    assert precision.weights is not None
    assert precision.weights.reduced > 0.99 * 1.9e6
    checks = [(c.computed_by, c.output) for c in after.verification]
    pytorch, graph = "ONNX Runtime against PyTorch", "ONNX Runtime against the float32 graph"
    assert {c.computed_by for c in before.verification} == {pytorch}
    assert checks == [
        *[(f"{pytorch}, before the conversion", "logits")] * 2,
        *[(f"{pytorch}, before the conversion", "mask")] * 2,
        *[(ROUNDED, "logits"), (ROUNDED, "mask")] * 2,
        *[(graph, "mask")] * 2,
    ]
    assert [c.mean_abs_error for c in before.verification] == [
        c.mean_abs_error for c in after.verification[:4]
    ]
    overlaps = [c.iou for c in after.verification[4:] if c.output == "logits"]
    assert all(0.99 < iou < 1 for iou in overlaps if iou is not None)
    assert None not in overlaps


def test_half_the_size_and_nearly_the_same_masks(
    frames_fp16: Path, frames: Path, photo: NDArray[np.uint8]
) -> None:
    # The integers and names of the graph weigh something in a network this small.
    assert frames_fp16.stat().st_size < 0.57 * frames.stat().st_size
    with dsunet_runtime.load(frames_fp16) as narrow, dsunet_runtime.load(frames) as wide:
        errors = np.abs(narrow(photo).astype(int) - wide(photo))
    # Found: 2 and 0.1.
    assert 0 < errors.max() <= 8
    assert errors.mean() < 0.5


@pytest.mark.parametrize("form", ["frames", "tensors"])
@pytest.mark.parametrize("compute", [Compute.FP16, Compute.BF16])
def test_tensorrt_reads_it_strongly_typed(
    form: str, compute: Compute, converted: Callable[[str, Compute], Path]
) -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    path = converted(form, compute)
    manifest = dsunet_runtime.read_manifest(path)
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
    logger = trt.Logger(trt.Logger.ERROR)
    network = trt.Builder(logger).create_network(0)
    parser = trt.OnnxParser(network, logger)
    assert parser.parse_from_file(str(path)), [
        parser.get_error(i) for i in range(parser.num_errors)
    ]
    reduced = {Compute.FP16: trt.float16, Compute.BF16: trt.bfloat16}[compute]
    weights = {trt.float16: 0, trt.bfloat16: 0, trt.float32: 0}
    for layer in (network.get_layer(i) for i in range(network.num_layers)):
        if layer.type == trt.LayerType.CONSTANT and layer.get_output(0).dtype in weights:
            layer.__class__ = trt.IConstantLayer
            weights[layer.get_output(0).dtype] += layer.weights.size
        if layer.type in (trt.LayerType.MATRIX_MULTIPLY, trt.LayerType.CONVOLUTION):
            in_graph = layer.name.startswith("preprocess/")
            assert layer.get_output(0).dtype == (trt.float32 if in_graph else reduced), layer.name
    assert weights[reduced] > 0.99 * sum(weights.values())
    named = {"uint8": trt.uint8, "float32": trt.float32}
    for specs, count, get in (
        (manifest.inputs, network.num_inputs, network.get_input),
        (manifest.outputs, network.num_outputs, network.get_output),
    ):
        found = {get(i).name: get(i).dtype for i in range(count)}
        assert found == {spec.name: named[spec.dtype] for spec in specs}


@pytest.mark.parametrize("form", ["frames", "tensors"])
@pytest.mark.parametrize(
    ("compute", "largest_mean"), [(Compute.FP32, 0.02), (Compute.FP16, 1.4), (Compute.BF16, 12.75)]
)
def test_a_second_runtime_agrees(
    form: str,
    compute: Compute,
    largest_mean: float,
    frames: Path,
    tensors: Path,
    converted: Callable[[str, Compute], Path],
    photo: NDArray[np.uint8],
) -> None:
    """With random weights, by the largest differences of exports (`tolerances`).

    OpenVINO computes float16 in float32, and ONNX Runtime rounds between nodes.  bfloat16, which
    that does not run on a CPU, is compared with float32.
    """
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    source = {"frames": frames, "tensors": tensors}[form]
    path = source if compute is Compute.FP32 else converted(form, compute)
    reference = source if compute is Compute.BF16 else path
    with (
        dsunet_runtime.load(path, provider="openvino", selftest="never") as openvino,
        dsunet_runtime.load(reference) as onnx_runtime,
    ):
        images = [photo, photo[::-1, ::-1]]
        differences = np.abs(
            np.stack(openvino.batch(images)).astype(int) - onnx_runtime.batch(images)
        )
    assert differences.mean() < largest_mean


def test_bfloat16_is_verified_by_rounding_only(
    converted: Callable[[str, Compute], Path],
) -> None:
    """ONNX Runtime has no convolution for it on the CPU."""
    path = converted("frames", Compute.BF16)
    manifest = dsunet_runtime.read_manifest(path)
    assert manifest.precision.compute == "bfloat16"
    assert manifest.precision.peaks == ()
    assert {c.computed_by for c in manifest.verification} == {
        "ONNX Runtime against PyTorch, before the conversion",
        "ONNX Runtime with bfloat16 rounding emulated on every tensor, against the float32 graph",
    }
    (opset,) = ir.load(path).opset_imports.values()
    assert opset == 22
    # Three digits fewer than float16, of which the logits show as much.
    worst = max(c.mean_abs_error for c in manifest.verification if c.output == "logits")
    assert 0.005 < worst < 0.1


def test_weights_beside_the_graph(
    frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifact, "SINGLE_FILE_LIMIT", 1_000_000)
    manifest = convert(frames, tmp_path / "half.onnx")
    assert {file.name for file in tmp_path.iterdir()} == {"half.onnx", "half.onnx.data"}
    (file,) = manifest.files
    assert file.name == "half.onnx.data"
    assert manifest.precision.weights is not None
    assert file.size == pytest.approx(2 * manifest.precision.weights.reduced, rel=0.01)


class TestRefusals:
    @pytest.fixture
    def output(self, tmp_path: Path) -> Any:
        """An artifact that a failing conversion must leave as it is."""
        output = tmp_path / "x.onnx"
        output.write_bytes(b"an older artifact")
        yield output
        assert output.read_bytes() == b"an older artifact"
        assert list(tmp_path.iterdir()) == [output]

    def test_wrong_conversion(
        self, frames: Path, output: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A planted fault: the weights of the last convolution lose their sign."""
        save = artifact.save

        def wrong(model: ir.Model, path: Path) -> None:
            weight = model.graph.initializers["heads.2.weight"]
            weight.const_value = ir.tensor(np.abs(weight.const_value.numpy()))
            save(model, path)

        monkeypatch.setattr(artifact, "save", wrong)
        with pytest.raises(
            VerificationError, match=r"logits differs by .*IoU at 0\.5 0\.\d+; .*--keep-fp32"
        ):
            convert(frames, output)

    def test_wrong_graph(self, output: Path, quick: ir.Model) -> None:
        """A graph of another model is refused before rounding can hide anything."""
        result = export(*NANO, "--seed", 1, "-o", output, "--precision", "fp16")
        assert result.exit_code == 1
        assert "logits differs by at most" in result.stderr

    def test_no_numbers(self, traced: ir.Model, frames: Path, tmp_path: Path) -> None:
        bias = traced.graph.initializers["heads.2.bias"]
        bias.const_value = ir.tensor(np.full_like(bias.const_value.numpy(), np.nan))
        source = tmp_path / "nan.onnx"
        ir.save(traced, source)
        manifest = dsunet_runtime.read_manifest(frames)
        faults = {Compute.FP16: "heads.2/Conv is", Compute.BF16: "the logits are"}
        for compute, fault in faults.items():
            with pytest.raises(ExportError, match=f"{fault} not finite on random .*checkpoint"):
                convert_artifact(
                    source, tmp_path / "x.onnx", manifest, compute, lambda *arguments: None
                )
        assert list(tmp_path.iterdir()) == [source]

    def test_what_is_reduced_already(self, frames_fp16: Path, output: Path) -> None:
        with pytest.raises(ExportError, match="is in float16 already: name the float32 artifact"):
            convert(frames_fp16, output)
