"""The description of a run's model, data and packages in its config.json."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

from dsunet.errors import TrainingError
from dsunet.model import DSUNet
from dsunet.pretrained import encoder_hashes
from dsunet.run_checkpoint import find_checkpoint
from dsunet.training.data import TrainingData
from dsunet.training.folder import RunFolder
from dsunet.training.options import TrainingOptions
from dsunet.training.progress_report import ProgressReport
from dsunet.weight_files import checkpoint_sha256
from dsunet_runtime import __version__

_PACKAGES = ("torch", "lightning-fabric", "timm", "sam2", "numpy", "pillow")


def describe(options: TrainingOptions, model: DSUNet, data: TrainingData) -> dict[str, Any]:
    """Describe all that a run depends on, for its config.json; `model` is the initial model."""
    from_files = any((options.checkpoint, options.sam2, options.dinov2))
    return {
        "options": options.absolute().to_dict(),
        "model": model.config.to_dict(),
        "data": {
            "pairs": len(data.pairs),
            "val_pairs": len(data.val_pairs),
            "sha256": data.sha256,
        },
        "encoders": encoder_hashes(model.state_dict()) if from_files else {},
        "checkpoint_sha256": options.checkpoint
        and checkpoint_sha256(find_checkpoint(options.checkpoint)),
        "versions": {
            "python": platform.python_version(),
            "dsunet": __version__,
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
    }


def check_unchanged(
    config: dict[str, Any], ours: dict[str, Any], folder: RunFolder, report: ProgressReport
) -> None:
    """Raise TrainingError if the initial weights have changed; report changed packages."""
    for name in ("encoders", "checkpoint_sha256"):
        if config.get(name) != ours[name]:
            raise TrainingError(
                f"the weight files that {folder.path} was started from have changed ({name}): "
                "restore them, or start a new run"
            )
    changed = [
        name
        for name, version in ours["versions"].items()
        if config["versions"].get(name) != version
    ]
    if changed:
        report.say(
            f"versions differ from the start of the run ({', '.join(changed)}): results may differ "
            "slightly"
        )
