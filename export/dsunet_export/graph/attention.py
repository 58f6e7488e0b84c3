"""Attention in forms for which TensorRT has no fused kernel.

A fused kernel computes softmax(q kᵀ) v without writing the scores to memory.  It is the fastest
form, and the one that has been wrong without an error: NVIDIA/TensorRT#4837 (16 bits, compute
capability 12.0), #4328 (float32).
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common as passes

from dsunet_export.errors import ExportError
from dsunet_export.options import Attention
from dsunet_runtime.artifact.manifest import UNFUSED_ATTENTION, Manifest, Rewrite

_BETWEEN = ("Cast", "Mul", "Div", "Add", "Transpose")
"""Operators that may be between the scores and softmax."""


def unfuse(model: ir.Model, attention: Attention, macs: int) -> tuple[Rewrite, ...]:
    """Compute softmax over transposed scores, in place, if `attention` is `unfused`.

    Returns the entry for the manifest's rewrites; `macs` is the network's number of multiply-adds,
    which does not change.  TensorRT for RTX 1.7 has fused kernels also for a softmax that is
    written out, but none for this form (docs/LOG.md).
    """
    if attention is not Attention.UNFUSED:
        return ()
    passes.ShapeInferencePass()(model)  # --plain graphs have no shapes
    softmax = [n for n in model.graph if n.op_type == "Softmax" and _is_over_last_axis(n)]
    if not softmax:
        return ()
    for node in softmax:
        _transpose_around(model.graph, node)
    return (Rewrite(UNFUSED_ATTENTION, macs, macs),)


def attention_of(manifest: Manifest) -> Attention:
    """Return the form in which an artifact was exported."""
    if manifest.has_unfused_attention:
        return Attention.UNFUSED
    if manifest.has_float32_scores:
        return Attention.FLOAT32
    return Attention.FUSED


def score_matmuls(graph: ir.Graph) -> list[ir.Node]:
    """Return the matmuls q kᵀ of all attentions, in order.

    Raises ExportError if there are none.
    """
    found = [_producing_matmul(node) for node in graph if node.op_type == "Softmax"]
    matmuls = [node for node in found if node is not None]
    if not matmuls:
        raise ExportError(
            "the graph has no attention whose scores could stay in float32: omit --attention"
        )
    return matmuls


def _is_over_last_axis(softmax: ir.Node) -> bool:
    axis = softmax.attributes["axis"].as_int() if "axis" in softmax.attributes else -1
    return axis in (-1, _rank(softmax.outputs[0]) - 1)


def _rank(value: ir.Value) -> int:
    if value.shape is None:
        raise ExportError(f"the graph has no shape for {value.name}: export it again")
    return len(value.shape)


def _transpose_around(graph: ir.Graph, softmax: ir.Node) -> None:
    scores, weights = softmax.inputs[0], softmax.outputs[0]
    order = list(range(_rank(weights)))
    order[-2:] = reversed(order[-2:])
    before = ir.node("Transpose", [scores], {"perm": order}, name=f"{softmax.name}/Transpose")
    graph.insert_before(softmax, before)
    softmax.replace_input_with(0, before.outputs[0])
    softmax.attributes["axis"] = ir.AttrInt64("axis", -2)
    after = ir.node("Transpose", [weights], {"perm": order}, name=f"{softmax.name}/Transpose_1")
    ir.convenience.replace_all_uses_with(weights, after.outputs[0])
    after.replace_input_with(0, weights)
    graph.insert_after(softmax, after)
    shape = weights.shape
    transposed = shape and ir.Shape([shape[axis] for axis in order])
    for node, result in ((before, transposed), (after, shape)):
        node.outputs[0].name = str(node.name)
        node.outputs[0].type, node.outputs[0].shape = weights.type, result
    weights.shape = transposed


def _producing_matmul(softmax: ir.Node) -> ir.Node | None:
    node = softmax.inputs[0].producer() if softmax.inputs[0] else None
    while node is not None and node.op_type in _BETWEEN and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return node if node is not None and node.op_type == "MatMul" else None
