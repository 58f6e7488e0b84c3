"""The first line that a run prints, and the memory figure of its progress line."""

from __future__ import annotations

import torch

from dsunet.network.model import DSUNet
from dsunet.training.options import TrainingOptions
from dsunet.training.training_data import TrainingData
from dsunet_runtime.bench.memory_use import resident


def start_line(
    options: TrainingOptions, data: TrainingData, model: DSUNet, device: torch.device
) -> str:
    """The first line of a run: device, number of images, number of parameters."""
    where = str(device)
    if device.type == "cuda":
        where += f" ({torch.cuda.get_device_name(device)})"
    if options.devices > 1:
        where += f", {options.devices} processes"
    images = f"{data.count:,} images"
    if data.unlabelled:
        images += f", {len(data.unlabelled):,} of them without masks"
    if data.val_pairs:
        images += f", {len(data.val_pairs):,} for validation"
    counts = [(p.numel(), p.requires_grad) for p in model.parameters()]
    total, trained = sum(n for n, _ in counts), sum(n for n, is_trained in counts if is_trained)
    return (
        f"device {where}, {options.precision}; {images}; {total:,} parameters, "
        f"{trained:,} trained ({trained / total:.2%})"
    )


def memory_in_use(device: torch.device) -> str:
    """Memory of the device that this process uses; empty if the system does not report it."""
    if device.type == "cuda":
        return f"GPU {torch.cuda.memory_reserved(device) / 1e9:.1f} GB"
    held = resident()
    return "" if held is None else f"RAM {held / 1e9:.1f} GB"
