"""Roofline analysis: time per branch of the network, compared with the peak of the machine.

layer_profile         a profiled layer, and the profile of a run
branches              from names of nodes to branches of the network
node_cost             multiply-adds and bytes of a node, from the shapes of its inputs and outputs
ort_profile           profile by ONNX Runtime
trt_profile           profile by TensorRT and its engine inspector
ceiling               peak compute and memory bandwidth of the CPU, measured by a matmul and a copy
gpu_ceiling           the same for a GPU
summary               costs per branch, and the ceiling
roofline_measurement  rooflines of artifacts and batches
roofline_table        output as tables, JSON and CSV
roofline_plot         output as SVG
"""
