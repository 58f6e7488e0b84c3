"""`--attention`: all forms compute the same, and TensorRT fuses only the first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from timm.layers.attention import Attention as ViTAttention
from torch import nn

from dsunet_export.convert_artifact import convert_artifact
from dsunet_export.errors import ExportError
from dsunet_export.graph.attention import attention_of, score_matmuls, unfuse
from dsunet_export.graph.trace import trace
from dsunet_export.manifest_text import kept_in_words
from dsunet_export.options import Attention, ExportOptions, ExportPrecision
from dsunet_export.precision.convert_graph import infer_types
from dsunet_export.precision.convert_nodes import narrow
from dsunet_export.rewrites.explicit_attention import ExplicitViTAttention
from dsunet_export.tensorrt.parse_graph import parse_graph
from dsunet_runtime import read_manifest
from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.artifact.flavor import Flavor, typed_network
from dsunet_runtime.backends.tensorrt.log import log_of
from tests.export.engines import ADA, fails
from tests.export.helpers import NANO, export, graph_of

ATTENTIONS = 13
"""In nano: six of Hiera, four of DINOv2, three of SFF."""
TOKENS = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 256, 64)).astype(np.float32))


@pytest.fixture(scope="module")
def traced_block() -> ir.Model:
    """One attention of two heads, traced."""
    torch.manual_seed(0)
    block = nn.Module()
    attention = ViTAttention(64, num_heads=2, qkv_bias=True).eval()
    with torch.no_grad():
        attention.qkv.weight.mul_(4)  # for weights far from uniform ones
    block.attn = ExplicitViTAttention(attention)
    block.forward = lambda x: block.attn(x)  # type: ignore[method-assign]
    return trace(block, {"x": TOKENS}, "y", {}, 20)


@pytest.fixture
def block(traced_block: ir.Model) -> ir.Model:
    """A copy, to change."""
    return ir.from_proto(ir.to_proto(traced_block))


def run(model: ir.Model) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    (output,) = session.run(None, {"x": TOKENS.numpy()})
    return np.asarray(output)


def test_unfused_it_computes_the_same(block: ir.Model) -> None:
    expected = run(block)
    (rewrite,) = unfuse(block, Attention.UNFUSED, 7)
    assert (rewrite.name, rewrite.macs_before, rewrite.macs_after) == ("unfused-attention", 7, 7)
    np.testing.assert_allclose(run(block), expected, atol=1e-5)
    assert unfuse(block, Attention.UNFUSED, 7) == ()  # it is already


def test_other_forms_leave_the_graph(block: ir.Model) -> None:
    before = ir.to_proto(block).SerializeToString()
    for form in (Attention.FUSED, Attention.FLOAT32):
        assert unfuse(block, form, 7) == ()
    assert ir.to_proto(block).SerializeToString() == before


def test_scores_are_found_behind_a_scale(block: ir.Model) -> None:
    (softmax,) = (node for node in block.graph if node.op_type == "Softmax")
    scores = softmax.inputs[0]
    factor = ir.val("factor", const_value=ir.tensor(np.float32(0.5)))
    block.graph.register_initializer(factor)
    scaled = ir.node("Mul", [scores, factor])
    block.graph.insert_before(softmax, scaled)
    softmax.replace_input_with(0, scaled.outputs[0])
    (matmul,) = score_matmuls(block.graph)
    assert scores is not None
    assert matmul is scores.producer()


def test_without_attention_there_are_no_scores(block: ir.Model) -> None:
    for node in block.graph:
        if node.op_type == "Softmax":
            node.op_type = "Relu"
    with pytest.raises(ExportError, match="no attention whose scores"):
        score_matmuls(block.graph)


def convert(block: ir.Model, form: Attention) -> ir.Model:
    unfuse(block, form, 0)
    infer_types(block)
    kept = {str(node.name) for node in block.graph if "Softmax" in str(node.name)}
    if form is Attention.FLOAT32:
        kept |= {str(node.name) for node in score_matmuls(block.graph)}
    narrow(block, kept, Compute.FP16)
    return block


@pytest.mark.parametrize("form", Attention)
def test_what_tensorrt_fuses(block: ir.Model, form: Attention, tmp_path: Path) -> None:
    """The names of generated kernels are text in the plan; `_gemm_mha` is fused attention."""
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    file = tmp_path / "block.onnx"
    ir.save(convert(block, form), file)
    trt = Flavor.RTX.load()
    logger = log_of(trt)
    builder = trt.Builder(logger)
    network = typed_network(trt, builder)
    parser = parse_graph(trt, network, logger, file, file)
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM120, 0)
    plan = bytes(builder.build_serialized_network(network, config))
    del parser
    assert (b"_gemm_mha" in plan) is (form is Attention.FUSED)


def outputs_of(graph: ir.Graph, pattern: str) -> Iterator[ir.Value]:
    return (v for n in graph for v in n.outputs if re.search(pattern, str(n.name)))


def test_float32(quick: ir.Model, tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    result = export(*NANO, "-o", path, "--precision", "fp16", "--attention", "float32")
    assert result.exit_code == 0, result.output
    graph = typed(path)
    scores = [node.outputs[0] for node in score_matmuls(graph)]
    weights = list(outputs_of(graph, r"/Softmax$"))
    assert len(scores) == len(weights) == ATTENTIONS
    assert {value.dtype for value in scores + weights} == {ir.DataType.FLOAT}
    projections = list(outputs_of(graph, r"\.attn\.project\.\w+/MatMul"))
    assert {value.dtype for value in projections} == {ir.DataType.FLOAT16}
    expected = (
        f" and {ATTENTIONS - 4} more: attention scores in float32, requested with --attention"
    )
    assert expected in result.stderr
    assert attention_of(read_manifest(path)) is Attention.FLOAT32
    assert "more: attention scores" not in "\n".join(
        kept_in_words(read_manifest(path).precision, each=True)
    )


def test_unfused(quick: ir.Model, tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    result = export(*NANO, "-o", path, "--precision", "fp16", "--attention", "unfused")
    assert result.exit_code == 0, result.output
    graph = typed(path)
    assert axes_of_softmax(graph) == [-2] * ATTENTIONS
    weights = list(outputs_of(graph, r"/Softmax$"))
    assert {value.dtype for value in weights} == {ir.DataType.FLOAT}
    assert read_manifest(path).rewrites[-1].name == "unfused-attention"
    assert attention_of(read_manifest(path)) is Attention.UNFUSED


def axes_of_softmax(graph: ir.Graph) -> list[int]:
    return [n.attributes["axis"].as_int() for n in graph if n.op_type == "Softmax"]


def typed(path: Path) -> ir.Graph:
    model = graph_of(path)
    infer_types(model)
    return model.graph


@pytest.mark.parametrize("precision", [ExportPrecision.FP32, ExportPrecision.INT8])
def test_float32_needs_16_bits(precision: ExportPrecision) -> None:
    images = Path() if precision.is_quantized else None
    with pytest.raises(ExportError, match=r"is for --precision fp16 or bf16.*use .* unfused"):
        ExportOptions(precision=precision, images=images, attention=Attention.FLOAT32)


class TestEngines:
    def test_a_float32_graph_is_converted(self, frames: Path, tmp_path: Path) -> None:
        output = tmp_path / "x.onnx"
        manifest = read_manifest(frames)
        form = Attention.UNFUSED
        converted = convert_artifact(
            frames, output, manifest, Compute.FP16, lambda *step: None, form
        )
        assert axes_of_softmax(typed(output)) == [-2] * ATTENTIONS
        assert converted.rewrites[-1].name == "unfused-attention"

    def test_the_command_passes_it_on(self, float32: Path, tmp_path: Path) -> None:
        fails(
            *(float32, *ADA, "--attention", "float32", "-o", tmp_path / "x.engine"),
            match="the graph has no attention whose scores",
        )

    def test_converted_graphs_are_refused(self, float16: Path, tmp_path: Path) -> None:
        fails(
            *(float16, *ADA, "--attention", "float32", "-o", tmp_path / "x.engine"),
            match=r"stays in fp16: export it again with .*--precision fp16 --attention float32",
        )

    def test_float32_engines_need_the_other_form(self, float32: Path, tmp_path: Path) -> None:
        engine = tmp_path / "x.engine"
        fails(
            *(float32, *ADA, "--precision", "fp32", "--attention", "float32", "-o", engine),
            match=r"stays in fp32: .*--precision fp32 --attention unfused",
        )
