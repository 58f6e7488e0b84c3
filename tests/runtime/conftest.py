from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import dsunet_runtime
from tests.runtime import artifacts


@pytest.fixture
def photo() -> NDArray[np.uint8]:
    """41×53×3 with smooth and noisy parts, the same in every run."""
    generator = np.random.default_rng(1)
    rows, columns = np.mgrid[0:41, 0:53]
    smooth = np.stack([rows * 6, columns * 4, (rows + columns) * 2], axis=-1)
    noise = generator.integers(0, 60, smooth.shape)
    return np.clip(smooth + noise - 30, 0, 255).astype(np.uint8)


@pytest.fixture
def frames_artifact(tmp_path: Path) -> Path:
    return artifacts.frames(tmp_path / "frames.onnx")


@pytest.fixture
def segmenter(frames_artifact: Path) -> Iterator[dsunet_runtime.Segmenter]:
    with dsunet_runtime.load(frames_artifact) as segmenter:
        yield segmenter
