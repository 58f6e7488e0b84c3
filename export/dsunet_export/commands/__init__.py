"""The commands of `dsunet-export`, a module for each, and what several of them share.

Each module of a command has its function, and the examples of its help.

onnx        `dsunet-export onnx`
trt         `dsunet-export trt`
verify      `dsunet-export verify`
tune        `dsunet-export tune`
inspect     `dsunet-export inspect`
triton      `dsunet-export triton`
deepstream  `dsunet-export deepstream`
doctor      `dsunet-export doctor`
options     options that several commands have
onnx_model  the model that the options of `onnx` select
"""
