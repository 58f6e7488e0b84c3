from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def no_threads_of_autograd() -> None:
    """Keep `fork` usable for training.

    `torch.onnx.export` lets PyTorch count devices that are not here.  The first backward pass of a
    process starts a thread for each device, for good, and a process forked from one with such
    threads cannot train.
    """
    torch.zeros((), requires_grad=True).backward()
