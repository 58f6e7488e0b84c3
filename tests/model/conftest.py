from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from dsunet import DSUNet, DSUNetConfig, random_model


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """`nano` gains nothing from more, and on a busy machine they wait for each other: 50 times."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def nano() -> DSUNet:
    """One random `nano` for tests that only read it."""
    return random_model(DSUNetConfig.preset("nano"), seed=1)
