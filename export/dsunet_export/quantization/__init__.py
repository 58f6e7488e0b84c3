"""8-bit quantisation of the encoders' linear layers, with explicit Q/DQ nodes.

matmuls            the matrix multiplications that can be quantised
calibration        the ranges of their activations, measured on sample images
merge_matmuls      one matrix multiplication of several that share an activation
quantize           QuantizeLinear and DequantizeLinear around each, by ONNX Runtime's quantiser
float8             8-bit floats in place of the integers
quantized_matmuls  the rounded weights and steps of a quantised graph
"""
