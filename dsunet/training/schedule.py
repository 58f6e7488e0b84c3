"""The learning rate of every step."""

from __future__ import annotations

import math

from dsunet.training.options import TrainingOptions


def learning_rate(options: TrainingOptions, epoch: int, step: int, steps: int) -> float:
    """Of one step: cosine annealing by the epoch, as in the published code, after a warm-up.

    `epoch` and `step` (of `steps` in the epoch) count from 0.  The warm-up's factor rises from
    step to step, up to 1.
    """
    cosine = (1 + math.cos(math.pi * epoch / options.epochs)) / 2
    annealed = options.min_lr + (options.lr - options.min_lr) * cosine
    warmup_steps = options.warmup * steps
    done = epoch * steps + step + 1
    return annealed * min(1.0, done / warmup_steps) if warmup_steps else annealed
