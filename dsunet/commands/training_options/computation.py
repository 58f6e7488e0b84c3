"""Options of devices, precision, memory and worker processes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dsunet.commands.help_panels import COMPUTATION
from dsunet.commands.training_options.defaults import DEFAULT
from dsunet.torch_device import TorchDevice
from dsunet.training.options import TrainingPrecision
from dsunet_runtime.commands.options import MAX_BATCH, MAX_WORKERS, folder_to_write, integer


class ComputationOptions:
    """The options of devices, precision, memory and worker processes."""

    device: Annotated[
        TorchDevice,
        typer.Option(
            help="Device to train on; auto is CUDA if available, else the CPU.",
            rich_help_panel=COMPUTATION,
        ),
    ] = DEFAULT.device
    devices: Annotated[
        int,
        integer(
            low=1,
            high=MAX_WORKERS,
            help="Number of devices that each batch is divided among.",
            rich_help_panel=COMPUTATION,
        ),
    ] = DEFAULT.devices
    precision: Annotated[
        TrainingPrecision,
        typer.Option(
            help="Precision of the forward and backward passes.", rich_help_panel=COMPUTATION
        ),
    ] = DEFAULT.precision
    accumulate: Annotated[
        int,
        integer(
            low=1,
            high=MAX_BATCH,
            help="Gradient accumulation steps per batch; more use less memory.",
            rich_help_panel=COMPUTATION,
        ),
    ] = DEFAULT.accumulate
    checkpointing: Annotated[
        bool,
        typer.Option(
            "--checkpointing",
            help="Recompute activations of the encoder blocks in the backward pass, to save memory "
            "(activation checkpointing).",
            rich_help_panel=COMPUTATION,
        ),
    ] = False
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            callback=folder_to_write,
            help="Folder that caches the feature maps of the frozen DINOv2, for this and later "
            "runs.  For large, 1 MB per image; 11 MB with --injection all, 27 MB with levels.  Not "
            "with --train-encoders.",
            rich_help_panel=COMPUTATION,
        ),
    ] = None
    workers: Annotated[
        int,
        integer(
            low=0,
            high=MAX_WORKERS,
            help="Number of processes that load images; 0 loads them in the main process.",
            rich_help_panel=COMPUTATION,
        ),
    ] = DEFAULT.workers
