"""Configurations and folders in which inference servers read artifacts.

checked_artifact   an artifact whose files have been compared with its manifest
model_folder       names of models, and staging of their folders
protobuf_text      messages in protobuf's text format
triton_options     options of a model repository, checked without reading anything
triton_model       artifacts that a backend of Triton can serve, as versions of one model
triton_warmup      the pictures of the self-test as Triton's warm-up requests
triton_config      config.pbtxt
triton_repository  the folders and files of a model repository, written completely or not at all
nvinfer_graph      the graph with the input and output of DeepStream's nvinfer
nvinfer_config     the configuration of nvinfer
deepstream         both files, written completely or not at all
"""
