"""In which precision TensorRT reads a network: its weights' bytes and its layers, by type."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from dsunet_export.errors import ExportError
from dsunet_export.names import PREPROCESS, is_in
from dsunet_export.tensorrt.network import layers_of
from dsunet_runtime.manifest import Precision, PrecisionProof, Quantization

REQUIRED_SHARE = 0.95
"""Of an engine's weight bytes that must be of its reduced type, and of its products; the rest is
what was kept."""

_TYPES = {"float16": "HALF", "bfloat16": "BF16"}
_FLOATS = ("FLOAT", "HALF", "BF16")
# They carry values from one layer to another, and compute none.
_MOVES = {
    "CAST", "CONCATENATION", "CONSTANT", "GATHER", "IDENTITY", "PADDING", "SHUFFLE", "SLICE",
    "SQUEEZE", "UNSQUEEZE",
}  # fmt: skip
# What nearly all of a network's time goes into.
_PRODUCTS = {"CONVOLUTION", "DECONVOLUTION", "EINSUM", "MATRIX_MULTIPLY"}
# Layers whose weights are their own, with the class that gives them; others take constants.
_WEIGHTS_OF = {
    "CONSTANT": ("IConstantLayer", ("weights",)),
    "CONVOLUTION": ("IConvolutionLayer", ("kernel", "bias")),
    "DECONVOLUTION": ("IDeconvolutionLayer", ("kernel", "bias")),
    "SCALE": ("IScaleLayer", ("shift", "scale", "power")),
}


class _Weights(NamedTuple):
    layer: str
    type: str
    size: int
    """In bytes, as they are stored."""


def prove_precision(trt: Any, network: Any, precision: Precision) -> PrecisionProof:
    """Count what is of the reduced type, among weights and layers that are floats.

    Weights count as what they are cast to before anything is computed; those of resampling, made of
    the frames' size, do not count.  Of layers, those that compute are counted; constants, casts and
    moves are not.

    Raises ExportError if less than 95 % of the weights are of the reduced type, or of the products
    (convolutions and matrix products) that `precision` does not keep in float32, not for `float32`;
    and if less than 95 % of the weights that it says are quantised are of 8 bits.
    """
    reduced = _TYPES.get(precision.compute)
    layers = layers_of(network)
    computed = [types for layer in layers if (types := _computed_floats(layer))]
    weights = list(_weights(trt, layers))
    proof = PrecisionProof(
        layers=len(computed),
        layers_reduced=sum(types == {reduced} for types in computed),
        weight_bytes=sum(w.size for w in weights),
        weight_bytes_reduced=sum(w.size for w in weights if w.type == reduced),
        weight_bytes_quantized=_quantized_bytes(layers),
    )
    if precision.quantized:
        _check_quantized(precision.quantized, proof)
    if reduced:
        _check_weights(weights, reduced, precision, proof)
        _check_products(layers, reduced, precision)
    return proof


def _check_quantized(quantized: Quantization, proof: PrecisionProof) -> None:
    if proof.weight_bytes_quantized < REQUIRED_SHARE * quantized.weights:
        raise ExportError(
            f"TensorRT reads {proof.weight_bytes_quantized / 1e6:,.2f} MB of weights in "
            f"{quantized.data_type}, where {quantized.weights / 1e6:,.2f} MB should be: export the "
            f"graph again"
        )


def _check_weights(
    weights: list[_Weights], reduced: str, precision: Precision, proof: PrecisionProof
) -> None:
    if proof.weight_bytes_reduced >= REQUIRED_SHARE * proof.weight_bytes:
        return
    others = sorted((w for w in weights if w.type != reduced), key=lambda w: w.size, reverse=True)
    largest = ", ".join(f"{w.layer} ({w.size / 1e6:,.2f} MB)" for w in others[:3])
    raise ExportError(
        f"only {proof.weight_bytes_reduced / proof.weight_bytes:.1%} of the weights are "
        f"{precision.compute} as TensorRT reads them, where {REQUIRED_SHARE:.0%} should be; the "
        f"largest others: {largest}: export the graph again, with less in --keep-fp32"
    )


def _check_products(layers: list[Any], reduced: str, precision: Precision) -> None:
    """Weights of the reduced type prove nothing if what is computed with them is float32."""
    patterns = [kept.pattern for kept in precision.kept_in_float32]
    products = {
        layer.name: types == {reduced}
        for layer in layers
        if layer.type.name in _PRODUCTS
        and (types := _computed_floats(layer))
        and not any(fnmatchcase(layer.name, pattern) for pattern in patterns)
    }
    if sum(products.values()) < REQUIRED_SHARE * len(products):
        others = ", ".join([name for name, fits in products.items() if not fits][:3])
        raise ExportError(
            f"only {sum(products.values())} of {len(products)} convolutions and matrix products "
            f"are computed in {precision.compute} as TensorRT reads them, where "
            f"{REQUIRED_SHARE:.0%} should be, besides those that were kept in float32; the first "
            f"others: {others}: export the graph again"
        )


def _computed_floats(layer: Any) -> set[str]:
    """The float types that a layer computes."""
    if layer.type.name in _MOVES:
        return set()
    outputs = (layer.get_output(index) for index in range(layer.num_outputs))
    return {output.dtype.name for output in outputs} & set(_FLOATS)


def _weights(trt: Any, layers: list[Any]) -> Iterator[_Weights]:
    """All weights that are floats, but those of resampling."""
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
                yield _Weights(name, cast_to or stored, weights.nbytes)


def _quantized_bytes(layers: list[Any]) -> int:
    """Of matrices of 8 bits; zero points are vectors."""
    return sum(
        math.prod(layer.get_output(0).shape)
        for layer in layers
        if layer.type.name == "CONSTANT"
        and layer.get_output(0).dtype.name in ("INT8", "FP8")
        and len(layer.get_output(0).shape) > 1
    )


def _casts(layers: list[Any]) -> dict[str, str]:
    """The float type that a tensor is cast to, for those that are read in no other."""
    read_as: dict[str, set[str]] = {}
    for layer in layers:
        for tensor in filter(None, (layer.get_input(i) for i in range(layer.num_inputs))):
            result = layer.get_output(0) if layer.type.name == "CAST" else tensor
            read_as.setdefault(tensor.name, set()).add(result.dtype.name)
    return {name: kind for name, (kind, *more) in read_as.items() if not more and kind in _FLOATS}


def _type_of(trt: Any, weights: Any) -> str:
    """The name of TensorRT's type.  What NumPy knows comes as an array, the rest does not."""
    if isinstance(weights, trt.Weights):
        return str(weights.dtype.name)
    name = str(weights.dtype.name)
    return {"float32": "FLOAT", "float16": "HALF"}.get(name, name)
