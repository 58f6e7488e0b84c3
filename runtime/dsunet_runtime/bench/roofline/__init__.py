"""Where an artifact's time goes, by branch of the network, and how much of it could be saved.

layers         what a profiler says of one layer, and of a run of all
branches       from names of nodes to branches
counting       multiply-adds and bytes of a node, from the shapes of what it reads and writes
ort_profile    ONNX Runtime's profile
trt_profile    TensorRT's profile, and its inspector
ceiling        a matrix product and a copy, measured on the spot
gpu_ceiling    the same on a GPU
summary        branches beside the ceiling
measuring      all of it, for artifacts and batches
table, plot    for people; JSON and CSV for programs
"""
