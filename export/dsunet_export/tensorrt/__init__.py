"""From an ONNX artifact to a TensorRT engine, with either flavour of TensorRT.

    gpus.py       GPUs by name, and their compute capability
    targets.py    what an engine is to be built for, and which flavour can do that
    flavors.py    all that differs between the flavours and their versions
    profiles.py   the range of shapes that an engine takes
    configuration.py  what can be asked of an engine, and how TensorRT is told
    log.py        TensorRT's log: errors in a line, memory
    monitor.py    progress, and stopping a build
    network.py    the ONNX graph as TensorRT reads it
    proof.py      in which precision TensorRT reads it
    builder.py    the steps from the graph to the engine and its manifest

Importing any of it needs neither TensorRT nor PyTorch nor ONNX.
"""
