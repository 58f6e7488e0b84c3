"""Providers: the libraries that compute an ONNX file.

The command line imports this module, so its imports must stay light.
"""

from __future__ import annotations

import enum

MAX_THREADS = 1024
"""Maximum number of threads of one operation, and of concurrent callers."""


class Provider(enum.StrEnum):
    """An execution provider of ONNX Runtime, or OpenVINO.

    `backends.selection` opens the backend of each.
    """

    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"
    RTX = "rtx"
    """TensorRT for RTX, a plugin of ONNX Runtime."""
    OPENVINO = "openvino"
    """OpenVINO's own runtime, on the CPU."""

    @property
    def keeps_compiled(self) -> bool:
        """Whether it caches what it compiles in a folder beside the artifact."""
        return self in (Provider.TENSORRT, Provider.RTX, Provider.OPENVINO)

    @property
    def on_gpu(self) -> bool:
        """Whether it computes on an NVIDIA GPU."""
        return self in (Provider.CUDA, Provider.TENSORRT, Provider.RTX)
