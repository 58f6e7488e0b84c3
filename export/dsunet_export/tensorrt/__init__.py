"""Build TensorRT engines from ONNX artifacts, with either flavor of TensorRT.

gpus              GPUs by name, with their compute capability
gpu_list          the table of `--gpu list`
flavors           the flavors that are installed
targets           the target of an engine: the choice of the flavor and the GPUs
profiles          optimization profiles: the shapes that an engine accepts
configuration     the options of an engine, and TensorRT's builder configuration
build_log         TensorRT's log: errors and memory use
monitor           progress, and cancelling a build
parse_graph       the ONNX graph as parsed by TensorRT
precision_choice  the precision of an engine, and the GPUs that compute it
precision_report  the precision of the parsed network
refit             engines that take the trained weights of several domains
engine_selftest   the references of an engine's self-test
builder           the steps from the graph to the engine and its manifest
engine_text       an engine as text

Importing any module needs neither TensorRT nor PyTorch nor ONNX.
"""
