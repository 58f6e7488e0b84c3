"""Matrix products of both encoders in 8 bits, explicitly quantised.

`products` says which, `calibration` measures what they read, `merging` makes one product of those
that read the same, and `quantizing` lets ONNX Runtime's quantiser put QuantizeLinear and
DequantizeLinear around them.  `float8` makes floats of the integers.
"""

from dsunet_export.quantization.quantizing import Quantizing, quantize

__all__ = ["Quantizing", "quantize"]
