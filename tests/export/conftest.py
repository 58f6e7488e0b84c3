"""Models and artifacts that many tests read.  An export takes ten seconds or more: few are made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

import dsunet_export.onnx
from dsunet_runtime.manifest import METADATA_KEY
from tests.export.helpers import NANO, export
from tests.threads import one_thread

__all__ = ["one_thread"]


@pytest.fixture(scope="session")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`nano` as users export it: any number of frames, of any size, verified."""
    path = tmp_path_factory.mktemp("frames") / "nano.onnx"
    result = export(*NANO, "-o", path)
    assert result.exit_code == 0, result.output
    return path


@pytest.fixture
def traced(frames: Path) -> ir.Model:
    """The graph of `frames`, as tracing gives it: without a manifest."""
    model = ir.load(frames)
    del model.metadata_props[METADATA_KEY]
    return model


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, traced: ir.Model) -> ir.Model:
    """Exports of nano take the graph that was traced before."""
    monkeypatch.setattr(dsunet_export.onnx, "trace_model", lambda model, options: traced)
    return traced


@pytest.fixture
def photo() -> NDArray[np.uint8]:
    """61×83×3 with smooth and noisy parts, the same in every run."""
    rows, columns = np.mgrid[0:61, 0:83]
    smooth = np.stack([rows * 4, columns * 3, (rows + columns) * 1.5], axis=-1)
    noise = np.random.default_rng(1).normal(0, 15, smooth.shape)
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)
