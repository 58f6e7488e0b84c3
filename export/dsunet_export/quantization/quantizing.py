"""A float32 graph whose encoders multiply numbers of 8 bits; the rest of it stays as it is.

Symmetric, because TensorRT wants zero to be zero: activations with one scale a tensor, weights with
one a column.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from dsunet_export.errors import ExportError
from dsunet_export.options import ExportPrecision
from dsunet_export.precision.narrowing import array_of
from dsunet_export.precision.reduction import infer_types
from dsunet_export.precision.rules import Selection
from dsunet_export.probes import GraphInputs, Probe
from dsunet_export.quantization.calibration import Calibration, calibrate
from dsunet_export.quantization.float8 import to_float8
from dsunet_export.quantization.merging import merge
from dsunet_export.quantization.products import Product, find_products
from dsunet_runtime.manifest import FLOAT8, Precision, Quantization

NOISIEST = 0.2
"""Largest noise, as a share of what carries it, that a product's input may get: where a few values
are over 90 times the RMS, such as an encoder's massive activations, eight bits leave the others
nothing, and the product stays in float32."""
NARROWEST = 2.0**-12
"""Smallest range, so that a scale is not zero in float16, in which the rest may come to be: a
weight's column of less has died."""
OPERATORS = ["MatMul"]


@dataclass(frozen=True, slots=True)
class Quantizing:
    """What is asked for."""

    precision: ExportPrecision
    """`int8` or `fp8`."""
    keep_fp32: Sequence[str]
    """Patterns of names of nodes."""
    images: Sequence[Probe]
    """On which ranges are measured."""
    only_computed: Sequence[Probe] = ()
    """On which the float32 graph is run besides."""


def quantize(
    model: ir.Model, task: Quantizing, inputs: GraphInputs, folder: Path
) -> tuple[ir.Model, Precision, list[NDArray[np.float32]]]:
    """Quantise the products of both encoders with weights, as far as they bear it.

    Gives another graph, what became of the products, and the logits S×S that the float32 graph gave
    for each of `only_computed` and of the images.  `folder` holds a copy of the graph meanwhile.

    Raises ExportError if a pattern matches nothing, or the graph does not run or gives something
    that is not finite.
    """
    infer_types(model)
    products = find_products(model.graph)
    selection = Selection(
        (product.name for product in products),
        "product of an encoder, and only those are quantised",
    )
    selection.request(task.keep_fp32)
    left = [product for product in products if product.name not in selection.names]
    activations = {product.activation for product in left}
    calibration = calibrate(model, activations, task.only_computed, task.images, inputs, folder)
    in_integers = task.precision is ExportPrecision.INT8
    if in_integers:
        _keep_noisy(left, calibration, selection)
    chosen = [product for product in left if product.name not in selection.names]
    if not chosen:
        raise ExportError(
            f"no matrix product is left for {task.precision}: give less in --keep-fp32, or take "
            f"--precision fp16"
        )
    noisiest = max(calibration.spreads[str(p.activation.name)].noise for p in chosen)
    weights = sum(array_of(product.weight).size for product in chosen)
    precision = Precision(
        kept_in_float32=tuple(selection.entries),
        quantized=Quantization(
            "int8" if in_integers else FLOAT8,
            len(chosen),
            len(products),
            weights,
            len(task.images),
            round(noisiest, 4) if in_integers else None,
        ),
    )
    merged = merge(model.graph, chosen)
    for product in merged:
        _part_from_bias(model.graph, product)
    quantized = _quantize(model, merged, calibration)
    if not in_integers:
        originals = {str(product.weight.name): array_of(product.weight) for product in merged}
        to_float8(quantized.graph, originals, NARROWEST)
    infer_types(quantized)
    return quantized, precision, calibration.logits


def _keep_noisy(products: list[Product], calibration: Calibration, selection: Selection) -> None:
    for product in products:
        spread = calibration.spreads[str(product.activation.name)]
        if spread.noise > NOISIEST:
            selection.keep(
                product.name,
                f"what it reads reaches {spread.largest / spread.rms:.0f} times its RMS, so that "
                f"rounding to 8 bits adds {spread.noise:.0%} of noise",
            )


def _part_from_bias(graph: ir.Graph, product: Product) -> None:
    """Give a bias N that is added to a product of known shape the shape 1×1×N.

    ONNX Runtime would make one Gemm of the two, and computes no Gemm in integers whose bias is a
    float; with more axes it leaves them alone.
    """
    shape = product.activation.shape
    if shape is None or not all(isinstance(dim, int) for dim in shape):
        return
    for use in list(product.node.outputs[0].uses()):
        bias = use.node.inputs[1 - use.idx] if use.node.op_type == "Add" else None
        if bias is None or not bias.is_initializer() or array_of(bias).ndim != 1:
            continue
        row = ir.val(f"{bias.name}.row", const_value=ir.tensor(array_of(bias).reshape(1, 1, -1)))
        graph.register_initializer(row)
        use.node.replace_input_with(1 - use.idx, row)
        if not bias.uses():
            del graph.initializers[str(bias.name)]


def _quantize(model: ir.Model, products: list[Product], calibration: Calibration) -> ir.Model:
    ranges = {
        name: TensorData(lowest=np.float32(-spread.largest), highest=np.float32(spread.largest))
        for name, spread in calibration.spreads.items()
    }
    quantizer = QDQQuantizer(
        ir.to_proto(model),
        per_channel=True,
        # With 7 bits no pair of products overflows the 16 bits in which CPUs without VNNI add it.
        reduce_range=True,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, ranges),
        nodes_to_quantize=[product.name for product in products],
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
    _undo_for_others(quantized.graph, {product.name for product in products})
    _name_nodes(quantized.graph)
    return quantized


def _undo_for_others(graph: ir.Graph, products: set[str]) -> None:
    """Let all but the products read what was there before.

    The quantiser replaces a tensor for all who read it; ONNX Runtime computes in integers only a
    product that alone reads what is quantised.
    """
    for node in [node for node in graph if node.op_type == "QuantizeLinear"]:
        (dequantized,) = (use.node.outputs[0] for use in node.outputs[0].uses())
        for use in list(dequantized.uses()):
            if use.node.name not in products:
                use.node.replace_input_with(use.idx, node.inputs[0])


def _name_nodes(graph: ir.Graph) -> None:
    """Name what was added as all else is: `module.path/OpType`, after the module that reads it."""
    seen: Counter[str] = Counter()
    added = [node for node in graph if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    for node in reversed(added):
        reader = next(use.node for output in node.outputs for use in output.uses())
        name = f"{str(reader.name).rpartition('/')[0]}/{node.op_type}"
        seen[name] += 1
        node.name = name if seen[name] == 1 else f"{name}_{seen[name] - 1}"
