"""What runs the network: ONNX Runtime, OpenVINO and TensorRT behind one interface.

interface     the interface between `Segmenter` and the backends
selection     the choice of the backend by provider
onnxruntime   ONNX Runtime, on the CPU or an NVIDIA GPU
openvino      OpenVINO, on the CPU
tensorrt      engines of both flavors of TensorRT
graph_names   comparison of a graph's inputs and outputs with those of its manifest
cache_folder  the folder beside an artifact in which a library caches what it compiles
"""
