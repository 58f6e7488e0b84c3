"""The description of a run's model, data and packages in its config.json."""

from __future__ import annotations

import importlib.metadata
import platform
import uuid

from dsunet.checkpoints.pretrained import encoder_hashes
from dsunet.checkpoints.run_checkpoint import find_checkpoint
from dsunet.checkpoints.weight_files import checkpoint_sha256
from dsunet.errors import TrainingError
from dsunet.network.model import DSUNet
from dsunet.training.options import TrainingOptions
from dsunet.training.progress_report import ProgressReport
from dsunet.training.run_folder import RunConfig, RunData, RunFolder
from dsunet.training.training_data import TrainingData
from dsunet_runtime import __version__

_PACKAGES = ("torch", "lightning-fabric", "timm", "sam2", "numpy", "pillow")


def describe_run(options: TrainingOptions, model: DSUNet, data: TrainingData) -> RunConfig:
    """Describe a new run; `model` is the initial model."""
    from_files = any((options.checkpoint, options.sam2, options.dinov2))
    distillation = options.distillation
    return RunConfig(
        run=uuid.uuid4().hex,
        options=options.absolute(),
        model=model.config,
        data=RunData(len(data.pairs), len(data.unlabelled), len(data.val_pairs), data.sha256),
        encoders=encoder_hashes(model.state_dict()) if from_files else {},
        checkpoint_sha256=checkpoint_sha256(find_checkpoint(options.checkpoint))
        if options.checkpoint
        else None,
        teacher_sha256=checkpoint_sha256(find_checkpoint(distillation.teacher))
        if distillation
        else None,
        versions={
            "python": platform.python_version(),
            "dsunet": __version__,
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
    )


def check_unchanged(
    config: RunConfig, ours: RunConfig, folder: RunFolder, report: ProgressReport
) -> None:
    """Raise TrainingError if the initial weights have changed; report changed packages."""
    for name in ("encoders", "checkpoint_sha256", "teacher_sha256"):
        if getattr(config, name) != getattr(ours, name):
            raise TrainingError(
                f"the weight files that {folder.path} was started from have changed ({name}): "
                "restore them, or start a new run"
            )
    changed = [
        name for name, version in ours.versions.items() if config.versions.get(name) != version
    ]
    if changed:
        report.say(
            f"versions differ from the start of the run ({', '.join(changed)}): results may differ "
            "slightly"
        )
