"""What inference servers need beside an artifact: configurations, and their folders.

checked_artifact   an artifact whose files have been compared with its manifest
model_folder       names of models, and staging of their folders
protobuf_text      messages in protobuf's text format
triton_options     options of a model repository, checked without reading anything
triton_model       artifacts that a backend of Triton can serve, as versions of one model
triton_warmup      the pictures of the self-test as Triton's warm-up requests
triton_config      config.pbtxt
triton_repository  the folders and files of a model repository, written completely or not at all
nvinfer_graph      a graph that DeepStream's nvinfer can feed, and its verification
nvinfer_config     the configuration of nvinfer
deepstream         both files, written completely or not at all
"""
