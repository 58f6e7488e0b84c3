"""DSU-Net: SAM2 and DINOv2 joined into a U-Net for segmentation.

The names in `__all__` are the public API.  All other modules are internal and may change without
notice.  Importing this package does not import PyTorch; the names that need it load when first
used, and raise MissingExtraError if it is not installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsunet.checkpoints.demonstration import demonstration_checkpoint
from dsunet.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DSUNetError,
    EvaluationError,
    TrainingError,
)
from dsunet.network.config import DSUNetConfig, Injection
from dsunet_runtime import __version__ as __version__
from dsunet_runtime.errors import MissingExtraError
from dsunet_runtime.lazy import lazy_attributes

if TYPE_CHECKING:
    from dsunet.checkpoints.inspection import CheckpointInfo, inspect_checkpoint
    from dsunet.checkpoints.load_and_save import load_model, save_model
    from dsunet.checkpoints.pretrained import load_encoders
    from dsunet.checkpoints.weight_files import checkpoint_sha256
    from dsunet.network.input_sizes import resize_inputs
    from dsunet.network.model import DSUNet, SegmentationLogits
    from dsunet.network.random_weights import random_model

__all__ = [
    "CheckpointError",
    "CheckpointInfo",
    "ConfigError",
    "DSUNet",
    "DSUNetConfig",
    "DSUNetError",
    "DataError",
    "EvaluationError",
    "Injection",
    "MissingExtraError",
    "SegmentationLogits",
    "TrainingError",
    "checkpoint_sha256",
    "demonstration_checkpoint",
    "inspect_checkpoint",
    "load_encoders",
    "load_model",
    "random_model",
    "resize_inputs",
    "save_model",
]

_NEED_TORCH = {
    "CheckpointInfo": "dsunet.checkpoints.inspection",
    "DSUNet": "dsunet.network.model",
    "SegmentationLogits": "dsunet.network.model",
    "checkpoint_sha256": "dsunet.checkpoints.weight_files",
    "inspect_checkpoint": "dsunet.checkpoints.inspection",
    "load_encoders": "dsunet.checkpoints.pretrained",
    "load_model": "dsunet.checkpoints.load_and_save",
    "random_model": "dsunet.network.random_weights",
    "resize_inputs": "dsunet.network.input_sizes",
    "save_model": "dsunet.checkpoints.load_and_save",
}


# Type checkers read the imports above instead, so that they still report misspelt names.
if not TYPE_CHECKING:
    __getattr__ = lazy_attributes(__name__, _NEED_TORCH, "torch")


def __dir__() -> list[str]:
    return sorted(__all__)
