"""The TensorRT backend.

backend         engines of both flavors, with inputs in host or in GPU memory
compatibility   whether an engine fits this machine, by its manifest, before it is opened
engine          an engine file in GPU memory, checked against its manifest
execution       one execution context that all callers and streams share
slots           buffers for batches from and to host memory
device_tensors  the caller's tensors in GPU memory, used without a copy
dlpack          the description of another library's tensor
runtime_cache   kernels compiled by TensorRT for RTX on this GPU, kept beside the engine
log             TensorRT's logger
"""
