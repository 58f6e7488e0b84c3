"""The ONNX graph: the traced modules, the trace, and changes to it.

forms             the modules that are exported: frames form and tensors form
resample          Pillow's antialiased bilinear filter as ONNX operators
trace             from a PyTorch module to an ONNX graph
surgery           small changes to ONNX graphs
values            types and arrays of tensors, and nodes inserted after them
names             names of modules: the image arithmetic, and the frozen encoders
attention         attention in forms without fused kernels
graph_file        the ONNX graph of an artifact, read from its files
session           graphs run by ONNX Runtime that are not artifacts
self_description  a description of the artifact in ONNX's own fields
"""
