"""Conversion of float32 graphs to strongly typed float16 or bfloat16.

rules              the nodes that always stay in float32
tensor_statistics  numbers computed of tensors on sample images, by added outputs
magnitudes         the largest values on sample images, to find nodes that would overflow
narrow             the conversion of the remaining nodes
emulate_rounding   the converted graph with its rounding emulated in float32
verification       the comparison of the result with the model
reduction          the steps of the conversion of a graph
conversion         the conversion of an artifact's file
"""

from dsunet_export.precision.conversion import convert_file
from dsunet_export.precision.reduction import Converted, PrecisionOptions, reduce_precision
from dsunet_export.precision.verification import (
    verify_before,
    verify_float32,
    verify_reduced,
)

__all__ = [
    "Converted",
    "PrecisionOptions",
    "convert_file",
    "reduce_precision",
    "verify_before",
    "verify_float32",
    "verify_reduced",
]
