"""Conversion of float32 graphs to strongly typed float16 or bfloat16.

types              the nodes that have a precision, and operators that only move values
rules              the nodes that always stay in float32
tensor_statistics  statistics of tensors on sample images, by added outputs
magnitudes         the largest values on sample images, to find nodes that would overflow
convert_nodes      the conversion of the remaining nodes
emulate_rounding   the converted graph with its rounding emulated in float32
convert_graph      the steps of the conversion of a graph
"""
