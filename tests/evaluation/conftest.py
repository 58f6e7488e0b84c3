from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from dsunet import DSUNet, DSUNetConfig, random_model, save_model
from tests.evaluation.pairs import write_dataset
from tests.threads import one_thread

__all__ = ["one_thread"]


@pytest.fixture
def scoring_in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Score in this process: starting others takes seconds."""
    monkeypatch.setattr("dsunet.evaluation.scorer.open_pool", ThreadPoolExecutor)


@pytest.fixture(scope="session")
def nano() -> DSUNet:
    """One random `nano` for tests that only read it."""
    return random_model(DSUNetConfig.preset("nano"), seed=1)


@pytest.fixture(scope="session")
def checkpoint(nano: DSUNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "nano.safetensors"
    save_model(nano, path)
    return path


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six scenes with images, ground truths and predictions; only for reading."""
    folder = tmp_path_factory.mktemp("ECSSD")
    write_dataset(folder, np.random.default_rng(3), count=6)
    return folder
