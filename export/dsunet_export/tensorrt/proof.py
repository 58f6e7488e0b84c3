"""In which precision TensorRT reads a network: its weights' bytes and its layers, by type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dsunet_export.errors import ExportError
from dsunet_export.tensorrt.network import layers_of
from dsunet_runtime.manifest import PrecisionProof

REQUIRED_SHARE = 0.95
"""Of an engine's weight bytes that must be of its reduced type; the rest is what was kept."""

_TYPES = {"float16": "HALF", "bfloat16": "BF16"}
_FLOATS = ("FLOAT", "HALF", "BF16")
# They carry values from one layer to another, and compute none.
_MOVES = {
    "CAST", "CONCATENATION", "CONSTANT", "GATHER", "IDENTITY", "PADDING", "SHUFFLE", "SLICE",
    "SQUEEZE", "UNSQUEEZE",
}  # fmt: skip
# Layers whose weights are their own, with the class that gives them; others take constants.
_WEIGHTS_OF = {
    "CONSTANT": ("IConstantLayer", ("weights",)),
    "CONVOLUTION": ("IConvolutionLayer", ("kernel", "bias")),
    "DECONVOLUTION": ("IDeconvolutionLayer", ("kernel", "bias")),
    "SCALE": ("IScaleLayer", ("shift", "scale", "power")),
}


def prove_precision(trt: Any, network: Any, compute: str) -> PrecisionProof:
    """Count what is of the type `compute`, among weights and layers that are floats.

    Of layers, those that compute are counted; constants, casts and moves are not.  Raises
    ExportError if less than 95 % of the weights are of that type, unless it is `float32`.
    """
    reduced = _TYPES.get(compute)
    layers = [types for layer in layers_of(network) if (types := _computed_floats(layer))]
    weights = list(_weights(trt, network))
    proof = PrecisionProof(
        layers=len(layers),
        layers_reduced=sum(types == {reduced} for types in layers),
        weight_bytes=sum(size for _, _, size in weights),
        weight_bytes_reduced=sum(size for _, kind, size in weights if kind == reduced),
    )
    if reduced and proof.weight_bytes_reduced < REQUIRED_SHARE * proof.weight_bytes:
        others = sorted((w for w in weights if w[1] != reduced), key=lambda w: w[2], reverse=True)
        largest = ", ".join(f"{name} ({size / 1e6:,.2f} MB)" for name, _, size in others[:3])
        raise ExportError(
            f"only {proof.weight_bytes_reduced / proof.weight_bytes:.1%} of the weights are "
            f"{compute} as TensorRT reads them, where {REQUIRED_SHARE:.0%} should be; the largest "
            f"others: {largest}: export the graph again, with less in --keep-fp32"
        )
    return proof


def _computed_floats(layer: Any) -> set[str]:
    """The float types that a layer computes."""
    if layer.type.name in _MOVES:
        return set()
    outputs = (layer.get_output(index) for index in range(layer.num_outputs))
    return {output.dtype.name for output in outputs} & set(_FLOATS)


def _weights(trt: Any, network: Any) -> Iterator[tuple[str, str, int]]:
    """Layer, type and bytes of all weights that are floats."""
    for layer in layers_of(network):
        owner, attributes = _WEIGHTS_OF.get(layer.type.name, ("", ()))
        if not owner:
            continue
        name = layer.name
        layer.__class__ = getattr(trt, owner)  # as TensorRT's Python API wants it
        for attribute in attributes:
            weights = getattr(layer, attribute)
            kind = _type_of(trt, weights)
            if kind in _FLOATS and weights.nbytes:
                yield name, kind, weights.nbytes


def _type_of(trt: Any, weights: Any) -> str:
    """The name of TensorRT's type.  What NumPy knows comes as an array, the rest does not."""
    if isinstance(weights, trt.Weights):
        return str(weights.dtype.name)
    name = str(weights.dtype.name)
    return {"float32": "FLOAT", "float16": "HALF"}.get(name, name)
