"""Report the precision of a network as TensorRT parsed it: weights and layers by type."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from dsunet_export.errors import ExportError
from dsunet_export.graph.names import PREPROCESS, is_in
from dsunet_export.tensorrt.parse_graph import layers_of
from dsunet_runtime.artifact.manifest import Precision, PrecisionReport, Quantization

REQUIRED_FRACTION = 0.95
"""Fraction of the weight bytes and of the matmuls and convolutions that must have the reduced type;
the others may have been kept in float32."""

_TYPES = {"float16": "HALF", "bfloat16": "BF16"}
_FLOATS = ("FLOAT", "HALF", "BF16")
# Layers that only move values.
_MOVES = {
    "CAST", "CONCATENATION", "CONSTANT", "GATHER", "IDENTITY", "PADDING", "SHUFFLE", "SLICE",
    "SQUEEZE", "UNSQUEEZE",
}  # fmt: skip
# The layers that take most of the time.
_MATMULS = {"CONVOLUTION", "DECONVOLUTION", "EINSUM", "MATRIX_MULTIPLY"}
# Layers with weights of their own, with their class and attributes; others read constants.
_WEIGHTS_OF = {
    "CONSTANT": ("IConstantLayer", ("weights",)),
    "CONVOLUTION": ("IConvolutionLayer", ("kernel", "bias")),
    "DECONVOLUTION": ("IDeconvolutionLayer", ("kernel", "bias")),
    "SCALE": ("IScaleLayer", ("shift", "scale", "power")),
}


class _StoredWeights(NamedTuple):
    layer: str
    type: str
    size: int
    """Bytes, as stored."""


def report_precision(trt: Any, network: Any, precision: Precision) -> PrecisionReport:
    """Count the weights and layers of the reduced type, among those in floating point.

    Weights that are cast before use count as the type after the cast; resampling weights, which
    depend on the frame size, are not counted.  Layers that only hold, cast or move values are not
    counted.

    Raises ExportError if the reduced type is not float32 and less than 95 % of the weight bytes, or
    of the convolutions and matmuls that `precision` does not keep in float32, have it; or if less
    than 95 % of the weights that `precision` lists as quantised have 8 bits.
    """
    reduced = _TYPES.get(precision.compute)
    layers = layers_of(network)
    computed = [types for layer in layers if (types := _computed_floats(layer))]
    weights = list(_weights(trt, layers))
    report = PrecisionReport(
        layers=len(computed),
        layers_reduced=sum(types == {reduced} for types in computed),
        weight_bytes=sum(w.size for w in weights),
        weight_bytes_reduced=sum(w.size for w in weights if w.type == reduced),
        weight_bytes_quantized=_quantized_bytes(layers),
    )
    if precision.quantized:
        _check_quantized(precision.quantized, report)
    if reduced:
        _check_weights(weights, reduced, precision, report)
        _check_matmuls(layers, reduced, precision)
    return report


def _check_quantized(quantized: Quantization, report: PrecisionReport) -> None:
    if report.weight_bytes_quantized < REQUIRED_FRACTION * quantized.weights:
        raise ExportError(
            f"TensorRT reads {report.weight_bytes_quantized / 1e6:,.2f} MB of weights in "
            f"{quantized.data_type} instead of {quantized.weights / 1e6:,.2f} MB: export the graph "
            f"again"
        )


def _check_weights(
    weights: list[_StoredWeights], reduced: str, precision: Precision, report: PrecisionReport
) -> None:
    if report.weight_bytes_reduced >= REQUIRED_FRACTION * report.weight_bytes:
        return
    others = sorted((w for w in weights if w.type != reduced), key=lambda w: w.size, reverse=True)
    largest = ", ".join(f"{w.layer} ({w.size / 1e6:,.2f} MB)" for w in others[:3])
    raise ExportError(
        f"only {report.weight_bytes_reduced / report.weight_bytes:.1%} of the weights are "
        f"{precision.compute} as TensorRT reads them, {REQUIRED_FRACTION:.0%} are required; the "
        f"largest others: {largest}: export the graph again with fewer --keep-fp32 patterns"
    )


def _check_matmuls(layers: list[Any], reduced: str, precision: Precision) -> None:
    """Check the computing layers too: weights of the reduced type could be cast to float32."""
    patterns = [kept.pattern for kept in precision.kept_in_float32]
    matmuls = {
        layer.name: types == {reduced}
        for layer in layers
        if layer.type.name in _MATMULS
        and (types := _computed_floats(layer))
        and not any(fnmatchcase(layer.name, pattern) for pattern in patterns)
    }
    if sum(matmuls.values()) < REQUIRED_FRACTION * len(matmuls):
        others = ", ".join([name for name, fits in matmuls.items() if not fits][:3])
        raise ExportError(
            f"only {sum(matmuls.values())} of {len(matmuls)} convolutions and matrix "
            f"multiplications are computed in {precision.compute} as TensorRT reads them, "
            f"{REQUIRED_FRACTION:.0%} are required (not counting those kept in float32); the first "
            f"others: {others}: export the graph again"
        )


def _computed_floats(layer: Any) -> set[str]:
    """Return the floating point types that a layer computes."""
    if layer.type.name in _MOVES:
        return set()
    outputs = (layer.get_output(index) for index in range(layer.num_outputs))
    return {output.dtype.name for output in outputs} & set(_FLOATS)


def _weights(trt: Any, layers: list[Any]) -> Iterator[_StoredWeights]:
    """Yield all floating point weights except those of resampling."""
    casts = _casts(layers)
    for layer in layers:
        owner, attributes = _WEIGHTS_OF.get(layer.type.name, ("", ()))
        if not owner or is_in(PREPROCESS, layer.name):
            continue
        name, kind = layer.name, layer.type.name
        cast_to = casts.get(layer.get_output(0).name) if kind == "CONSTANT" else None
        layer.__class__ = getattr(trt, owner)  # as TensorRT's Python API wants it
        for attribute in attributes:
            weights = getattr(layer, attribute)
            stored = _type_of(trt, weights)
            if stored in _FLOATS and weights.nbytes:
                yield _StoredWeights(name, cast_to or stored, weights.nbytes)


def _quantized_bytes(layers: list[Any]) -> int:
    """Count the bytes of 8-bit matrices; zero points are vectors."""
    return sum(
        math.prod(layer.get_output(0).shape)
        for layer in layers
        if layer.type.name == "CONSTANT"
        and layer.get_output(0).dtype.name in ("INT8", "FP8")
        and len(layer.get_output(0).shape) > 1
    )


def _casts(layers: list[Any]) -> dict[str, str]:
    """Map tensors that are only read in one floating point type, after casts, to that type."""
    read_as: dict[str, set[str]] = {}
    for layer in layers:
        for tensor in filter(None, (layer.get_input(i) for i in range(layer.num_inputs))):
            result = layer.get_output(0) if layer.type.name == "CAST" else tensor
            read_as.setdefault(tensor.name, set()).add(result.dtype.name)
    return {name: kind for name, (kind, *more) in read_as.items() if not more and kind in _FLOATS}


def _type_of(trt: Any, weights: Any) -> str:
    """Return the name of TensorRT's type of weights, which are NumPy arrays where NumPy has it."""
    if isinstance(weights, trt.Weights):
        return str(weights.dtype.name)
    name = str(weights.dtype.name)
    return {"float32": "FLOAT", "float16": "HALF"}.get(name, name)
