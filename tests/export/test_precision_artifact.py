"""Artifacts in float16 and bfloat16: what they hold, what is proven of them, what is refused."""

from __future__ import annotations

import functools
import os
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
from PIL import Image
from typer.testing import CliRunner

import dsunet_export.onnx
import dsunet_export.precision.conversion as conversion
import dsunet_runtime
from dsunet_export import artifact
from dsunet_export.artifact import append_manifest
from dsunet_export.cli import app
from dsunet_export.errors import ExportError, VerificationError
from dsunet_export.options import read_patterns
from dsunet_export.precision import convert_file
from dsunet_export.precision.rules import rules_for
from dsunet_export.precision.verification import iou_at_half
from dsunet_runtime import Manifest
from dsunet_runtime.compute import Compute
from dsunet_runtime.manifest import METADATA_KEY, InputForm, TensorSpec, digest
from tests.export.helpers import NANO, export, one_line


def convert(
    source: Path, output: Path, compute: Compute = Compute.FP16, **said: object
) -> Manifest:
    """What the command does on the way to an engine; `said` replaces parts of the manifest."""
    manifest = replace(dsunet_runtime.read_manifest(source), **said)
    return convert_file(source, output, manifest, compute, lambda step, seconds: None)


ROUNDED = "ONNX Runtime with float16 rounding emulated on every tensor, against the float32 graph"


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
def half(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("half") / "half.onnx"
    convert(frames, path)
    return path


def test_description(half: Path, frames: Path) -> None:
    before, after = map(dsunet_runtime.read_manifest, (frames, half))
    for field in ("inputs", "outputs", "model", "preprocessing", "macs", "rewrites"):
        assert getattr(before, field) == getattr(after, field)
    for values in ("input", "output"):
        assert getattr(onnx.load(half).graph, values) == getattr(onnx.load(frames).graph, values)
    precision = after.precision
    assert precision.compute == "float16"
    assert [k.pattern for k in precision.kept_in_float32] == [
        rule.pattern for rule in rules_for(Compute.FP16)
    ]
    assert 0 < precision.peaks[-1].magnitude < precision.peaks[0].magnitude < 65504 / 4
    assert precision.weights is not None
    assert precision.weights.narrowed > 0.99 * 1.9e6
    checks = [(c.computed_by, c.output) for c in after.verification]
    pytorch, graph = "ONNX Runtime against PyTorch", "ONNX Runtime against the float32 graph"
    assert {c.computed_by for c in before.verification} == {pytorch}
    assert checks == [
        *[(f"{pytorch}, before the conversion", "mask")] * 2,
        *[(ROUNDED, "logits"), (ROUNDED, "mask")] * 2,
        *[(graph, "mask")] * 2,
    ]
    assert [c.mean_abs_error for c in before.verification] == [
        c.mean_abs_error for c in after.verification[:2]
    ]
    overlaps = [c.iou_at_half for c in after.verification if c.output == "logits"]
    assert all(0.99 < iou < 1 for iou in overlaps if iou is not None)
    assert None not in overlaps


def test_half_the_size_and_nearly_the_same_masks(
    half: Path, frames: Path, photo: NDArray[np.uint8]
) -> None:
    # The integers and names of the graph weigh something in a network this small.
    assert half.stat().st_size < 0.57 * frames.stat().st_size
    with dsunet_runtime.load(half) as narrow, dsunet_runtime.load(frames) as wide:
        errors = np.abs(narrow(photo).astype(int) - wide(photo))
    # Found: 2 and 0.1.
    assert 0 < errors.max() <= 8
    assert errors.mean() < 0.5


@pytest.mark.parametrize("form", ["frames", "tensors"])
@pytest.mark.parametrize("compute", [Compute.FP16, Compute.BF16])
def test_tensorrt_reads_it_strongly_typed(
    form: str, compute: Compute, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    path = tmp_path / "reduced.onnx"
    manifest = convert(request.getfixturevalue(form), path, compute)
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


def test_bfloat16_is_verified_by_rounding_only(frames: Path, tmp_path: Path) -> None:
    """ONNX Runtime has no convolution for it on the CPU."""
    manifest = convert(frames, tmp_path / "bf16.onnx", Compute.BF16)
    assert manifest.precision.compute == "bfloat16"
    assert manifest.precision.peaks == ()
    assert {c.computed_by for c in manifest.verification} == {
        "ONNX Runtime against PyTorch, before the conversion",
        "ONNX Runtime with bfloat16 rounding emulated on every tensor, against the float32 graph",
    }
    (opset,) = ir.load(tmp_path / "bf16.onnx").opset_imports.values()
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
    assert file.size == pytest.approx(2 * manifest.precision.weights.narrowed, rel=0.01)


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
        """A planted fault: the last convolution's weights lose their sign."""
        save = conversion.save

        def wrong(model: ir.Model, path: Path) -> None:
            weight = model.graph.initializers["heads.2.weight"]
            weight.const_value = ir.tensor(np.abs(weight.const_value.numpy()))
            save(model, path)

        monkeypatch.setattr(conversion, "save", wrong)
        with pytest.raises(
            VerificationError, match=r"logits differs by .*IoU at 0\.5 0\.\d+ .*--keep-fp32"
        ):
            convert(frames, output)

    def test_wrong_graph(self, output: Path, quick: ir.Model) -> None:
        """A graph of another model is refused before rounding can hide anything."""
        result = export(*NANO, "--seed", 1, "-o", output, "--precision", "fp16")
        assert result.exit_code == 1
        assert "logits differs by up to" in result.stderr

    def test_no_numbers(self, traced: ir.Model, frames: Path, tmp_path: Path) -> None:
        bias = traced.graph.initializers["heads.2.bias"]
        bias.const_value = ir.tensor(np.full_like(bias.const_value.numpy(), np.nan))
        source = tmp_path / "nan.onnx"
        ir.save(traced, source)
        manifest = dsunet_runtime.read_manifest(frames)
        for compute, tensor in ((Compute.FP16, "heads.2/Conv"), (Compute.BF16, "the logits")):
            with pytest.raises(ExportError, match=f"{tensor} is not finite on random .*checkpoint"):
                convert_file(
                    source, tmp_path / "x.onnx", manifest, compute, lambda *arguments: None
                )
        assert list(tmp_path.iterdir()) == [source]

    def test_what_is_reduced_already(self, half: Path, output: Path) -> None:
        with pytest.raises(ExportError, match="is float16 already: name the float32 artifact"):
            convert(half, output)


class TestGate:
    """Of weights that come from a checkpoint less is forgiven than of random ones."""

    @pytest.fixture
    def shifted(self, frames: Path, tmp_path: Path) -> Path:
        """`frames`, which sees an object nearly nowhere, so that it sees one in many places."""
        model = ir.load(frames)
        bias = model.graph.initializers["heads.2.bias"]
        bias.const_value = ir.tensor(bias.const_value.numpy() + np.float32(1.8))
        path = tmp_path / "shifted.onnx"
        ir.save(model, path)
        return path

    @pytest.mark.parametrize(("random", "logits", "mask"), [(True, 0.2, 12.75), (False, 0.1, 2.55)])
    def test_of_each_image(
        self, shifted: Path, tmp_path: Path, random: bool, logits: float, mask: float
    ) -> None:
        """Random pixels, which show no object, have one tolerance for all weights."""
        manifest = convert(shifted, tmp_path / "x.onnx", weights_are_random=random)
        allowed = {
            (c.inputs.split()[0], c.output): c.mean_tolerance
            for c in manifest.verification
            if c.computed_by == ROUNDED
        }
        assert allowed == pytest.approx(
            {
                ("random", "logits"): 0.2, ("photograph", "logits"): logits,
                ("random", "mask"): 12.75, ("photograph", "mask"): mask,
            }
        )  # fmt: skip

    def test_a_fault_that_random_weights_could_hide(
        self, frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """All logits are off by 0.11, which is 0.18 and 0.15 of their standard deviation."""
        save = conversion.save

        def wrong(model: ir.Model, path: Path) -> None:
            bias = model.graph.initializers["heads.2.bias"]
            bias.const_value = ir.tensor(bias.const_value.numpy() + np.float16(0.11))
            save(model, path)

        monkeypatch.setattr(conversion, "save", wrong)
        convert(frames, tmp_path / "random.onnx")
        with pytest.raises(
            VerificationError, match=r"on photograph .*mean 0\.1\).*--keep-fp32.*bf16"
        ):
            convert(frames, tmp_path / "trained.onnx", weights_are_random=False)
        assert [path.name for path in tmp_path.iterdir()] == ["random.onnx"]

    def test_without_an_object(self, frames: Path, shifted: Path, tmp_path: Path) -> None:
        """The IoU is not compared, and the output states that."""
        found = {}
        for source in (frames, shifted):
            manifest = convert(source, tmp_path / "x.onnx", weights_are_random=False)
            logits = [c for c in manifest.verification if c.output == "logits"]
            found[source] = [(c.iou_at_half, c.computed_by) for c in logits]
        unsaid = f"{ROUNDED}; no IoU: less than 1% on one side of 0.5"
        assert found[frames] == [(None, unsaid)] * 2
        assert all(by == ROUNDED and 0.98 < iou < 1 for iou, by in found[shifted])

    def test_an_artifact_that_was_not_compared_with_pytorch(
        self, frames: Path, tmp_path: Path
    ) -> None:
        manifest = convert(frames, tmp_path / "x.onnx", verification=())
        assert manifest.verification
        assert all("PyTorch" not in c.computed_by for c in manifest.verification)


class TestOverlap:
    HALVES = np.repeat(np.float32([[-1, 1]]), 50, axis=1)

    def test_of_masks(self) -> None:
        smaller = self.HALVES.copy()
        smaller[0, 50:60] = -1
        for or_median in (False, True):
            overlap = functools.partial(iou_at_half, or_median=or_median)
            assert overlap(self.HALVES, self.HALVES) == 1
            assert overlap(self.HALVES, -self.HALVES) == 0
            assert overlap(self.HALVES, smaller) == 40 / 50

    def test_where_all_logits_have_one_sign(self) -> None:
        """The median takes the place of zero, or every two maps would agree."""
        low = self.HALVES - 9
        assert iou_at_half(low, low, or_median=True) == 1
        assert iou_at_half(low, -self.HALVES - 9, or_median=True) == 0
        assert iou_at_half(low, low, or_median=False) is None

    def test_where_a_map_is_flat(self) -> None:
        flat = np.zeros((5, 5), np.float32)
        assert iou_at_half(flat, flat, or_median=True) == 1
        assert iou_at_half(flat, flat + 1, or_median=True) == 0
        assert iou_at_half(flat, flat, or_median=False) is None


class TestCommand:
    @pytest.fixture
    def images(self, tmp_path: Path) -> Path:
        folder = tmp_path / "images"
        folder.mkdir()
        return folder

    def test_float16(self, quick: ir.Model, tmp_path: Path) -> None:
        patterns = tmp_path / "patterns.txt"
        patterns.write_text("# the finest attention\nsff.2*\n\n  rfb.0/*  # and this\n")
        path = tmp_path / "x.onnx"
        result = export(
            *NANO, "-o", path, "--precision", "fp16", "--keep-fp32", "heads*",
            "--keep-fp32", f"@{patterns}", "--keep-fp32", "sff.2/Add",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        manifest = dsunet_runtime.read_manifest(path)
        kept = [k.pattern for k in manifest.precision.kept_in_float32]
        assert kept[len(rules_for(Compute.FP16)) :] == ["heads*", "sff.2*", "rfb.0/*", "sff.2/Add"]
        assert manifest.precision.kept_in_float32[-1].nodes == 0
        assert "in float32: heads* (1 nodes): requested with --keep-fp32" in result.stderr
        assert "headroom below the float16 maximum (65504)" in result.stdout
        assert "IoU at 0.5 0.99" in result.stdout
        by = [c.computed_by for c in manifest.verification]
        assert by == [
            *["ONNX Runtime against PyTorch, before the conversion"] * 2,
            *["ONNX Runtime with float16 rounding emulated on every tensor, against PyTorch"] * 4,
            *["ONNX Runtime against PyTorch"] * 2,
        ]
        inspected = dict(
            line.split("  ", 1) for line in inspect(path).splitlines() if "  " in line.strip()
        )
        assert inspected["precision"].strip() == "float16"

    def test_images(
        self, quick: ir.Model, tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Overflow is looked for on all, and the first few are compared on."""
        monkeypatch.setattr(dsunet_export.onnx, "IMAGES_COMPARED", 1)
        stripes = np.zeros((64, 64, 3), np.uint8)
        Image.fromarray(stripes).save(images / "black.png")
        stripes[:, ::8] = 255
        Image.fromarray(stripes).save(images / "stripes.png")
        path = tmp_path / "x.onnx"
        result = export(*NANO, "-o", path, "--precision", "fp16", "--images", images)
        assert result.exit_code == 0, result.output
        manifest = dsunet_runtime.read_manifest(path)
        peaks = manifest.precision.peaks
        assert "stripes.png" in {peak.images for peak in peaks}
        assert [p.magnitude for p in peaks] == sorted((p.magnitude for p in peaks), reverse=True)
        compared = [c.inputs.split()[0] for c in manifest.verification]
        assert compared.count("black.png") == 4
        assert set(compared) == {"random", "photograph", "black.png"}

    @pytest.mark.parametrize(
        ("arguments", "match", "code"),
        [
            (("--keep-fp32", "x"), "--keep-fp32 and --images are for --precision fp16", 2),
            (("--images", "."), "--keep-fp32 and --images are for --precision fp16", 2),
            (("--precision", "fp16", "--keep-fp32", "@none.txt"), "@none.txt: No such file", 1),
        ],
    )
    def test_wrong_options(
        self, tmp_path: Path, arguments: tuple[str, ...], match: str, code: int
    ) -> None:
        result = export(*NANO, "-o", tmp_path / "x.onnx", *arguments)
        assert (result.exit_code, result.stdout) == (code, "")
        assert match in one_line(result.stderr)
        assert list(tmp_path.iterdir()) == []

    def test_wrong_images(self, tmp_path: Path, images: Path) -> None:
        arguments = (*NANO, "-o", tmp_path / "x.onnx", "--precision", "fp16", "--images", images)
        result = export(*arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "no images in this folder" in one_line(result.stderr)
        (images / "broken.png").write_bytes(b"not an image")
        result = export(*arguments)
        assert result.exit_code == 1
        assert "broken.png: not an image" in one_line(result.stderr)
        (images / "other.jpg").write_bytes(b"nor is this")
        result = export(*arguments)
        assert result.exit_code == 1
        heading, *listed = result.stderr.splitlines()
        assert "2 images cannot be read" in one_line(heading)
        assert [Path(line.split(":")[0]).stem for line in listed] == ["broken", "other"]
        assert list(tmp_path.iterdir()) == [images]

    def test_empty_pattern(self) -> None:
        result = export(*NANO, "-o", "x.onnx", "--precision", "fp16", "--keep-fp32", "")
        assert "--keep-fp32 is empty" in one_line(result.stderr)

    def test_file_without_patterns(self, tmp_path: Path) -> None:
        empty = tmp_path / "empty.txt"
        empty.write_text("# nothing\n")
        result = export(*NANO, "-o", "x.onnx", "--precision", "fp16", "--keep-fp32", f"@{empty}")
        assert "the file has no patterns" in one_line(result.stderr)

    def test_patterns_longer_than_any_name(self, tmp_path: Path) -> None:
        """Searching for names like them would take minutes."""
        patterns = tmp_path / "keep.txt"
        patterns.write_text("sff.2*\n" + "?" * 100_000)
        with pytest.raises(ExportError, match=r"'\?+…' has 100,000 characters") as caught:
            read_patterns([f"@{patterns}"])
        assert len(str(caught.value)) < 300

    @pytest.mark.parametrize(
        ("make", "match"),
        [
            (os.mkfifo, "is a pipe or a device, not a file"),
            (lambda path: path.mkdir(), "is a folder, not a file"),
            (lambda path: path.write_bytes(b"\xff"), "the file is not UTF-8 text"),
            (lambda path: path.write_bytes(bytes(2 << 20)), "is larger than 1 MB"),
        ],
    )
    def test_what_is_no_file_of_patterns(
        self, tmp_path: Path, make: Callable[[Path], Any], match: str
    ) -> None:
        make(tmp_path / "keep")
        with pytest.raises(ExportError, match=match):
            read_patterns([f"@{tmp_path / 'keep'}"])


def inspect(path: Path) -> str:
    return CliRunner().invoke(app, ["inspect", str(path)]).stdout
