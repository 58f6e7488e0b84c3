"""Quantise the encoders' linear layers of a float32 graph to 8 bits.

Quantisation is symmetric, as TensorRT requires: one scale per tensor for activations, one per
column for weights.  All other nodes are left as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from dsunet_export.errors import ExportError
from dsunet_export.graph.values import array_of
from dsunet_export.options import FLOAT8_OPSET, ExportPrecision
from dsunet_export.precision.convert_graph import ConvertedGraph, infer_types
from dsunet_export.precision.rules import KeptNodes
from dsunet_export.probes import GraphInputs, Probe
from dsunet_export.quantization.calibration import ActivationRange, calibrate, ranges_of
from dsunet_export.quantization.float8 import to_float8
from dsunet_export.quantization.matmuls import WeightMatmul, find_matmuls
from dsunet_export.quantization.merge_matmuls import merge_matmuls
from dsunet_runtime.artifact.manifest import FLOAT8, Precision, Quantization

NOISIEST = 0.2
"""Largest rounding noise of an activation, as a fraction of its RMS.  Above it, outliers of more
than 90 times the RMS, such as an encoder's massive activations, leave no steps for the other
values, and the matmul stays in float32."""
NARROWEST = 2.0**-12
"""Smallest range of a tensor or column, so that its scale is not zero if the graph is converted to
float16 later.  A weight column with a smaller range is effectively zero."""
OPERATORS = ["MatMul"]
_IR_VERSION = 10
"""ONNX's format version of a graph of one matmul."""


@dataclass(frozen=True, slots=True)
class QuantizationOptions:
    """Parameters of `quantize`."""

    precision: ExportPrecision
    """`int8` or `fp8`."""
    keep_fp32: Sequence[str]
    """Patterns of node names."""
    images: Sequence[Probe]
    """Calibration images."""
    only_computed: Sequence[Probe] = ()
    """Further images on which to compute the logits of the float32 graph."""


def quantize(
    model: ir.Model, task: QuantizationOptions, inputs: GraphInputs, folder: Path
) -> ConvertedGraph:
    """Quantise the weight matmuls of both encoders whose activations have no extreme outliers.

    `model` cannot be used afterwards.  The logits are those of `only_computed`, then of `images`.
    A temporary copy of the graph is written to `folder`.

    Raises ExportError if a pattern matches nothing, the graph does not run, or a value is not
    finite.
    """
    infer_types(model)
    matmuls = find_matmuls(model.graph)
    kept_nodes = KeptNodes(
        (matmul.name for matmul in matmuls),
        "matrix multiplication of an encoder (only those are quantised)",
    )
    kept_nodes.request(task.keep_fp32)
    left = [matmul for matmul in matmuls if matmul.name not in kept_nodes.names]
    activations = {matmul.activation for matmul in left}
    probes = [*task.only_computed, *task.images]
    statistics = calibrate(model, activations, probes, inputs, folder)
    ranges = ranges_of(statistics, {image.label for image in task.images})
    in_integers = task.precision is ExportPrecision.INT8
    if in_integers:
        _keep_noisy(left, ranges, kept_nodes)
    chosen = [matmul for matmul in left if matmul.name not in kept_nodes.names]
    if not chosen:
        raise ExportError(
            f"no matrix multiplication is left for {task.precision}: use fewer --keep-fp32 "
            f"patterns, or --precision fp16"
        )
    noisiest = max(ranges[str(matmul.activation.name)].noise for matmul in chosen)
    weights = sum(array_of(matmul.weight).size for matmul in chosen)
    precision = Precision(
        kept_in_float32=tuple(kept_nodes.entries),
        quantized=Quantization(
            "int8" if in_integers else FLOAT8,
            len(chosen),
            len(matmuls),
            weights,
            len(task.images),
            round(noisiest, 4) if in_integers else None,
        ),
    )
    merged = merge_matmuls(model.graph, chosen)
    for matmul in merged:
        _separate_bias(model.graph, matmul)
    quantized = _quantize(model, merged, ranges, in_integers)
    infer_types(quantized)
    return ConvertedGraph(quantized, precision, statistics.logits)


def quantized_weights(graph: ir.Graph, data_type: str) -> dict[ir.Value, list[NDArray[Any]]]:
    """Return what a quantised graph would have for the weights that it leaves in float32.

    These are the integers or floats of 8 bits, their scales and zero points.  For weights that
    would be merged, the first has those of all.
    """
    groups: dict[ir.Value, list[ir.Value]] = {}
    for matmul in find_matmuls(graph):
        groups.setdefault(matmul.activation, []).append(matmul.weight)
    found: dict[ir.Value, list[NDArray[Any]]] = {}
    for weights in groups.values():
        whole = np.concatenate([array_of(weight) for weight in weights], axis=1)
        found |= {weight: [] for weight in weights}
        found[weights[0]] = _quantized(whole, data_type != FLOAT8)
    return found


def _quantized(weight: NDArray[np.float32], in_integers: bool) -> list[NDArray[Any]]:
    """Quantise one weight K×N as `quantize` does; returns it with its scales and zero points."""
    rows, columns = weight.shape
    stored = ir.val("weight", const_value=ir.tensor(weight))
    x = ir.val("x", shape=ir.Shape([1, rows]), type=ir.TensorType(ir.DataType.FLOAT))
    node = ir.node("MatMul", [x, stored], name="matmul")
    (y,) = node.outputs
    y.name, y.shape, y.type = "y", ir.Shape([1, columns]), ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph(
        [x], [y], nodes=[node], initializers=[stored], opset_imports={"": FLOAT8_OPSET}, name="one"
    )
    ranges = {"x": ActivationRange(1.0, 1.0)}
    model = ir.Model(graph, ir_version=_IR_VERSION)
    quantized = _quantize(model, [WeightMatmul(node, x, stored)], ranges, in_integers)
    (matmul,) = (node for node in quantized.graph if node.op_type == "MatMul")
    dequantized = matmul.inputs[1]
    producer = None if dequantized is None else dequantized.producer()
    if producer is None:
        raise ValueError("ONNX Runtime's quantiser did not quantise the weight")
    return [array_of(value) for value in producer.inputs if value is not None]


def _keep_noisy(
    matmuls: list[WeightMatmul], ranges: dict[str, ActivationRange], kept_nodes: KeptNodes
) -> None:
    for matmul in matmuls:
        measured = ranges[str(matmul.activation.name)]
        if measured.noise > NOISIEST:
            kept_nodes.keep(
                matmul.name,
                f"its input has outliers of {measured.largest / measured.rms:.0f} times the RMS: "
                f"rounding to 8 bits adds {measured.noise:.0%} of noise",
            )


def _separate_bias(graph: ir.Graph, matmul: WeightMatmul) -> None:
    """Reshape a bias N that is added to a matmul of static shape to 1×1×N.

    ONNX Runtime fuses a matmul and a one-dimensional bias into a Gemm, and does not compute a Gemm
    with a float bias in integers.  A bias with more axes is not fused.
    """
    shape = matmul.activation.shape
    if shape is None or not all(isinstance(dim, int) for dim in shape):
        return
    for use in list(matmul.node.outputs[0].uses()):
        bias = use.node.inputs[1 - use.idx] if use.node.op_type == "Add" else None
        if bias is None or not bias.is_initializer() or array_of(bias).ndim != 1:
            continue
        row = ir.val(f"{bias.name}.row", const_value=ir.tensor(array_of(bias).reshape(1, 1, -1)))
        graph.register_initializer(row)
        use.node.replace_input_with(1 - use.idx, row)
        if not bias.uses():
            del graph.initializers[str(bias.name)]


def _quantize(
    model: ir.Model,
    matmuls: list[WeightMatmul],
    ranges: dict[str, ActivationRange],
    in_integers: bool,
) -> ir.Model:
    tensor_data = {
        name: TensorData(lowest=np.float32(-measured.largest), highest=np.float32(measured.largest))
        for name, measured in ranges.items()
    }
    quantizer = QDQQuantizer(
        ir.to_proto(model),
        per_channel=True,
        # With 7 bits, the sum of two products fits the 16-bit accumulators of CPUs without VNNI.
        reduce_range=True,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, tensor_data),
        nodes_to_quantize=[matmul.name for matmul in matmuls],
        nodes_to_exclude=[],
        op_types_to_quantize=OPERATORS,
        extra_options={
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "OpTypesToExcludeOutputQuantization": OPERATORS,
            "MinimumRealRange": NARROWEST,
        },
    )
    quantizer.quantize_model()
    quantized: ir.Model = ir.from_proto(quantizer.model.model)
    quantized.graph.sort()
    _undo_for_others(quantized.graph, {matmul.name for matmul in matmuls})
    _name_nodes(quantized.graph)
    if not in_integers:
        originals = {str(matmul.weight.name): array_of(matmul.weight) for matmul in matmuls}
        to_float8(quantized.graph, originals, NARROWEST)
    return quantized


def _undo_for_others(graph: ir.Graph, matmuls: set[str]) -> None:
    """Let nodes other than the matmuls read the original tensor.

    The quantiser replaces a tensor for all of its readers, but ONNX Runtime computes a matmul in
    integers only if it is the only reader of the quantised tensor.
    """
    for node in [node for node in graph if node.op_type == "QuantizeLinear"]:
        (dequantized,) = (use.node.outputs[0] for use in node.outputs[0].uses())
        for use in list(dequantized.uses()):
            if use.node.name not in matmuls:
                use.node.replace_input_with(use.idx, node.inputs[0])


def _name_nodes(graph: ir.Graph) -> None:
    """Name added nodes `module.path/OpType`, after the module that reads them."""
    seen: Counter[str] = Counter()
    added = [node for node in graph if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    for node in reversed(added):
        reader = next(use.node for output in node.outputs for use in output.uses())
        name = f"{str(reader.name).rpartition('/')[0]}/{node.op_type}"
        seen[name] += 1
        node.name = name if seen[name] == 1 else f"{name}_{seen[name] - 1}"
