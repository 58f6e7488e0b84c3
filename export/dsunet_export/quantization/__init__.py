"""Matrix products of both encoders in 8-bit integers, explicitly quantised.

`products` says which, `calibration` measures what they read, `merging` makes one product of those
that read the same, and `quantizing` lets ONNX Runtime's quantiser put QuantizeLinear and
DequantizeLinear around them.
"""

from dsunet_export.quantization.quantizing import quantize

__all__ = ["quantize"]
