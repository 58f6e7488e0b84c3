"""From a DSU-Net checkpoint to a verified artifact.

    options = ExportOptions(precision=ExportPrecision.FP16)
    origin = WeightsOrigin(checkpoint.name, dsunet.checkpoint_sha256(checkpoint))
    export_onnx(dsunet.load_model(checkpoint), origin, Path("nano.onnx"), options, print)

The names in `__all__` are the public API.  All other modules are internal and may change without
notice.  Importing this package imports neither PyTorch nor ONNX nor TensorRT.  Each name is loaded
at its first use, and raises MissingExtraError if a package that it needs is not installed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dsunet_export.errors import ExportError, VerificationError
from dsunet_runtime import __version__ as __version__
from dsunet_runtime.errors import MissingExtraError
from dsunet_runtime.lazy import lazy_attributes

if TYPE_CHECKING:
    from dsunet_export.onnx import export_onnx
    from dsunet_export.options import ExportOptions, ExportPrecision, WeightsOrigin
    from dsunet_export.tensorrt.builder import build_engine
    from dsunet_export.tensorrt.configuration import EngineOptions
    from dsunet_export.tensorrt.profiles import Ranges
    from dsunet_export.tensorrt.targets import Target, choose_target
    from dsunet_runtime.artifact.compute import Compute
    from dsunet_runtime.artifact.flavor import Flavor
    from dsunet_runtime.artifact.manifest import InputForm, MaskForm

__all__ = [
    "Compute",
    "EngineOptions",
    "ExportError",
    "ExportOptions",
    "ExportPrecision",
    "Flavor",
    "InputForm",
    "MaskForm",
    "MissingExtraError",
    "Ranges",
    "Target",
    "VerificationError",
    "WeightsOrigin",
    "build_engine",
    "choose_target",
    "export_onnx",
]

# Before ONNX Runtime is imported: it would report its use to its maker, and write an identifier
# into the home folder.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_MODULES = {
    "Compute": "dsunet_runtime.artifact.compute",
    "EngineOptions": "dsunet_export.tensorrt.configuration",
    "ExportOptions": "dsunet_export.options",
    "ExportPrecision": "dsunet_export.options",
    "Flavor": "dsunet_runtime.artifact.flavor",
    "InputForm": "dsunet_runtime.artifact.manifest",
    "MaskForm": "dsunet_runtime.artifact.manifest",
    "Ranges": "dsunet_export.tensorrt.profiles",
    "Target": "dsunet_export.tensorrt.targets",
    "WeightsOrigin": "dsunet_export.options",
    "build_engine": "dsunet_export.tensorrt.builder",
    "choose_target": "dsunet_export.tensorrt.targets",
    "export_onnx": "dsunet_export.onnx",
}


# Type checkers read the imports above instead, so that they still report misspelt names.
if not TYPE_CHECKING:
    __getattr__ = lazy_attributes(__name__, _MODULES, "export")


def __dir__() -> list[str]:
    return sorted(__all__)
