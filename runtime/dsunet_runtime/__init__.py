"""Runtime for exported DSU-Net artifacts: images in, masks out.  It does not depend on PyTorch.

    import dsunet_runtime

    with dsunet_runtime.load("dsunet.onnx") as segmenter:  # or "dsunet.engine"
        mask = segmenter("photo.jpg")  # uint8, H×W

The names in `__all__` are the public API.  All other modules are internal and may change without
notice.  They are imported at the first use of a name, and ONNX Runtime or TensorRT when an artifact
is loaded, so that importing this package is quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsunet_runtime.device_tensor import DeviceTensor
from dsunet_runtime.errors import (
    ArtifactError,
    BackendError,
    ImageError,
    MissingExtraError,
    OutputError,
    RuntimeFault,
    SelfTestError,
)
from dsunet_runtime.lazy import lazy_attributes

if TYPE_CHECKING:
    from dsunet_runtime.artifact.manifest import Manifest
    from dsunet_runtime.artifact.manifest_file import read_manifest
    from dsunet_runtime.images.frame import Frame
    from dsunet_runtime.images.pixels import PixelFormat, YuvEncoding
    from dsunet_runtime.result import Result
    from dsunet_runtime.segmenter import Segmenter, load

__version__ = "0.1.0"
"""The version of the whole distribution; packages, commands and metadata take it from here."""

__all__ = [
    "ArtifactError",
    "BackendError",
    "DeviceTensor",
    "Frame",
    "ImageError",
    "Manifest",
    "MissingExtraError",
    "OutputError",
    "PixelFormat",
    "Result",
    "RuntimeFault",
    "Segmenter",
    "SelfTestError",
    "YuvEncoding",
    "load",
    "read_manifest",
]

_MODULES = {
    "Frame": "dsunet_runtime.images.frame",
    "Manifest": "dsunet_runtime.artifact.manifest",
    "PixelFormat": "dsunet_runtime.images.pixels",
    "Result": "dsunet_runtime.result",
    "Segmenter": "dsunet_runtime.segmenter",
    "YuvEncoding": "dsunet_runtime.images.pixels",
    "load": "dsunet_runtime.segmenter",
    "read_manifest": "dsunet_runtime.artifact.manifest_file",
}

# Type checkers read the import above instead, so that they still report misspelt names.
if not TYPE_CHECKING:
    __getattr__ = lazy_attributes(__name__, _MODULES, "cpu")


def __dir__() -> list[str]:
    return sorted(__all__)
