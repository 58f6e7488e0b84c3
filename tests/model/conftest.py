from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dsunet import DSUNet, DSUNetConfig, random_model
from tests.model.weights import dinov2_state, sam2_state
from tests.threads import one_thread

__all__ = ["one_thread"]


@pytest.fixture(scope="session")
def nano() -> DSUNet:
    """One random `nano` for tests that only read it."""
    return random_model(DSUNetConfig.preset("nano"), seed=1)


@pytest.fixture(scope="session")
def other() -> DSUNet:
    """Another file, with other values than the first."""
    return random_model(DSUNetConfig.preset("nano"), seed=2)


@pytest.fixture
def official(nano: DSUNet, tmp_path: Path) -> tuple[Path, Path]:
    """SAM2's and DINOv2's files with the encoders of `nano`."""
    sam2, dinov2 = tmp_path / "sam2.pt", tmp_path / "dinov2.pth"
    torch.save({"model": sam2_state(nano)}, sam2)
    torch.save(dinov2_state(nano), dinov2)
    return sam2, dinov2
