from __future__ import annotations

import pytest

from dsunet import DSUNet, DSUNetConfig, random_model
from tests.threads import one_thread

__all__ = ["one_thread"]


@pytest.fixture(scope="session")
def nano() -> DSUNet:
    """One random `nano` for tests that only read it."""
    return random_model(DSUNetConfig.preset("nano"), seed=1)
