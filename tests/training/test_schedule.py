from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dsunet.training.options import TrainingOptions
from dsunet.training.schedule import learning_rate


def options(epochs: int = 50, warmup: float = 0) -> TrainingOptions:
    return TrainingOptions(output=Path("x"), datasets=(Path("d"),), epochs=epochs, warmup=warmup)


def test_anneals_as_the_published_code() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50, eta_min=1e-7)
    for epoch in range(50):
        expected = optimizer.param_groups[0]["lr"]
        for step in (0, 6):
            # PyTorch multiplies the last rate again and again, where ours is the formula.
            assert learning_rate(options(), epoch, step, 7) == pytest.approx(expected, rel=1e-9)
        optimizer.step()
        schedule.step()


def test_warms_up_step_by_step() -> None:
    warm, plain = options(10, warmup=1.5), options(10)
    rates = [
        learning_rate(warm, epoch, step, 4) / learning_rate(plain, epoch, step, 4)
        for epoch in range(2)
        for step in range(4)
    ]
    assert rates == pytest.approx([k / 6 for k in range(1, 7)] + [1, 1])
