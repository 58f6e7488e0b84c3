"""Graphs in float16 and bfloat16, strongly typed.

`rules` says what stays in float32, `magnitudes` what else has to, `narrow` brings the rest into
the other type, and `verification` judges the result.
"""

from dsunet_export.precision.conversion import convert_file
from dsunet_export.precision.reduction import PrecisionOptions, reduce_precision
from dsunet_export.precision.verification import verify_before, verify_reduced

__all__ = [
    "PrecisionOptions",
    "convert_file",
    "reduce_precision",
    "verify_before",
    "verify_reduced",
]
