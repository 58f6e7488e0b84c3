from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import dsunet_runtime
from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.cuda import nvml
from tests.runtime import artifacts
from tests.runtime.fake_cuda import FakeCuda, FakeDevice
from tests.runtime.fake_tensorrt import Context, FakeTensorRT


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


class Machine:
    """A machine with a GPU and TensorRT, both fake."""

    def __init__(self, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cuda = cuda
        self._monkeypatch = monkeypatch
        monkeypatch.setattr("dsunet_runtime.backends.tensorrt.compatibility.find", lambda: cuda)
        monkeypatch.setattr(nvml, "query", lambda read: None)
        self.use(Flavor.RTX)

    def use(self, flavor: Flavor, **changes: Any) -> None:
        """Install a flavor."""
        self.trt = FakeTensorRT(self.cuda, rtx=flavor is Flavor.RTX, **changes)
        self._monkeypatch.setitem(sys.modules, flavor.module, self.trt)

    @property
    def device(self) -> FakeDevice:
        """The GPU as it was opened last."""
        return self.cuda.devices[-1]

    @property
    def context(self) -> Context:
        """The one execution context of the engine that was loaded last."""
        (context,) = self.trt.engines[-1].contexts
        return context


IN_BOTH_ORDERS = pytest.mark.parametrize("interleaved", [False, True], ids=["lazy", "interleaved"])
"""For tests of order: both ways in which the fake GPU puts off its work."""


@pytest.fixture
def interleaved() -> bool:
    return False


@pytest.fixture
def machine(interleaved: bool, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with a GeForce RTX 4090 and TensorRT for RTX, both fake."""
    return Machine(FakeCuda(interleaved=interleaved), monkeypatch)
