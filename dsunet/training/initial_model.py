"""The initial model of a run, and the part of it that is trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dsunet.checkpoints.header import Content
from dsunet.checkpoints.load_and_save import load_model
from dsunet.checkpoints.pretrained import check_sources, load_encoders
from dsunet.checkpoints.run_checkpoint import Notice
from dsunet.errors import MissingEncodersError, TrainingError
from dsunet.network.config import DSUNetConfig
from dsunet.network.model import DSUNet
from dsunet.training.options import TrainingOptions


def initial_model(options: TrainingOptions, notice: Notice | None = None) -> DSUNet:
    """Build the initial model, on the CPU, in training mode.

    Weights that no file is given for are randomly initialised from the seed.  `notice` receives
    which networks were chosen from the files.  Raises CheckpointError if a file cannot be used, and
    TrainingError if one is missing.
    """
    torch.manual_seed(options.seed)
    if options.checkpoint is not None:
        model = load_model(
            options.checkpoint,
            config=options.config,
            sam2=options.sam2,
            dinov2=options.dinov2,
            hiera_size=options.hiera_size,
            dino_size=options.dino_size,
            notice=notice,
        )
    else:
        config = (options.config or DSUNetConfig()).resized(
            hiera_size=options.hiera_size, dino_size=options.dino_size
        )
        model = _newly_initialised(options, config, notice)
    if options.train_encoders:
        model.requires_grad_(True)
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.requires_grad or not isinstance(tensor, nn.Parameter):
            tensor.data = tensor.data.clone()  # memory-mapped files must not be modified
    # Channels-last convolutions are faster on CPUs (1.5 times for nano), and no slower elsewhere.
    return model.to(memory_format=torch.channels_last).train()


def teacher_model(options: TrainingOptions, notice: Notice | None = None) -> DSUNet | None:
    """Load the teacher of a run, on the CPU; None if it has none.

    Raises CheckpointError if its files cannot be used, and TrainingError if one is missing.
    """
    distillation = options.distillation
    if distillation is None:
        return None
    try:
        return load_model(
            distillation.teacher, sam2=distillation.sam2, dinov2=distillation.dinov2, notice=notice
        )
    except MissingEncodersError as error:
        files = " and ".join(f"--teacher-{name}" for name in error.files)
        raise TrainingError(
            f"the teacher {distillation.teacher} has no encoder weights: give the official files "
            f"that it was trained with ({files})"
        ) from error


def trains_encoders(model: DSUNet) -> bool:
    """Whether training changes the encoders too."""
    return all(parameter.requires_grad for parameter in model.parameters())


def trainable_state(model: DSUNet) -> dict[str, Tensor]:
    """The part of the model's state dict that training changes: all but frozen encoders."""
    content = Content.WHOLE if trains_encoders(model) else Content.TRAINED
    return content.select(model.state_dict())


def _newly_initialised(
    options: TrainingOptions, config: DSUNetConfig, notice: Notice | None
) -> DSUNet:
    given = options.sam2 is not None or options.dinov2 is not None
    if not (given or options.train_encoders):
        files = "--sam2 and --dinov2" if config.injection.hiera_levels else "--sam2"
        raise TrainingError(
            f"frozen encoders need weights: give their official files with {files}, a --checkpoint "
            "that includes them, or --train-encoders to train everything from scratch"
        )
    if given:  # before a large network is built
        check_sources(config, options.sam2, options.dinov2)
    model = DSUNet(config)
    if given:
        load_encoders(model, sam2=options.sam2, dinov2=options.dinov2, notice=notice)
    return model
