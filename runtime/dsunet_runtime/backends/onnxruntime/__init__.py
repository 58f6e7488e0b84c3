"""The ONNX Runtime backend.

backend              a session, its options, and its inputs and outputs
execution_providers  execution providers: names and options, and how a session selects one
rtx_plugin           NVIDIA's plugin that brings TensorRT for RTX to ONNX Runtime
placement            whether the graph runs on the GPU that was requested
libraries            NVIDIA's libraries in this process, for the record of the self-test
"""
