"""The provider `openvino` on an artifact with trained weights and a self-test."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import dsunet_runtime
from dsunet_runtime import SelfTestError
from dsunet_runtime.backends import openvino as backend
from tests.export.graph.test_portable_graph import pictures

pytest.importorskip("openvino", reason="OpenVINO is not installed")


@pytest.fixture
def artifact(trained: Path, tmp_path: Path) -> Path:
    """A copy, beside which the compiled graph is kept."""
    return Path(shutil.copy(trained, tmp_path))


def test_agrees_with_onnx_runtime(artifact: Path) -> None:
    images = [*pictures(3, 97, 211)]
    with dsunet_runtime.load(artifact) as segmenter:
        expected = np.stack(segmenter.batch(images)).astype(int)
    for _ in range(2):  # compiled, and from the cache
        with dsunet_runtime.load(artifact, provider="openvino", selftest="always") as segmenter:
            found = np.stack(segmenter.batch(images))
        assert np.abs(found - expected).max() <= 1


def test_the_self_test_notices_bfloat16(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In which OpenVINO would compute float32 artifacts by itself."""
    core, _ = backend.start()
    if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU computes no bfloat16")
    monkeypatch.setattr(backend, "_precision", lambda core, manifest: "bf16")
    with pytest.raises(SelfTestError, match="precision bf16: this machine does not compute"):
        dsunet_runtime.load(artifact, provider="openvino")
