"""The learning rate schedule."""

from __future__ import annotations

import math

from dsunet.training.options import TrainingOptions


def learning_rate(options: TrainingOptions, epoch: int, step: int, steps: int) -> float:
    """The learning rate of a step: linear warm-up, and cosine annealing per epoch.

    Annealing per epoch is that of the published code.  `epoch` and `step` (of `steps` per epoch)
    count from 0.
    """
    cosine = (1 + math.cos(math.pi * epoch / options.epochs)) / 2
    annealed = options.min_lr + (options.lr - options.min_lr) * cosine
    warmup_steps = options.warmup * steps
    done = epoch * steps + step + 1
    return annealed * min(1.0, done / warmup_steps) if warmup_steps else annealed
