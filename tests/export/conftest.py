"""Models and artifacts that many tests read.  An export takes ten seconds or more: few are made."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

import dsunet_export.onnx
from dsunet import demonstration_checkpoint
from tests.export.engines import graph, pretend_gpu
from tests.export.helpers import NANO, export, graph_of, weights_beside
from tests.made_once import made_once
from tests.once_per_structure import once_per_structure
from tests.pages.commands import copy_results
from tests.threads import one_thread

__all__ = ["once_per_structure", "one_thread"]


def exported_frames(factory: pytest.TempPathFactory) -> Path:
    """The artifact of the fixture `frames`, for tests elsewhere."""

    def make(folder: Path) -> None:
        result = export(*NANO, "-o", folder / "nano.onnx")
        assert result.exit_code == 0, result.output

    return made_once(factory, "frames", make) / "nano.onnx"


@pytest.fixture(scope="session")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`nano` as users export it: any number of frames, of any size, verified."""
    return exported_frames(tmp_path_factory)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demonstration checkpoint in float32: random weights give masks of noise.

    The export is that of a page of the manual.
    """
    folder = tmp_path_factory.mktemp("trained")
    shutil.copy(demonstration_checkpoint(), folder / "nano.safetensors")
    command = shlex.split("dsunet-export onnx nano.safetensors -o nano.onnx")
    copy_results(command, folder, tmp_path_factory)
    return folder / "nano.onnx"


@pytest.fixture(scope="session")
def frames_beside(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`frames` with its weights in a second file, as the onnx package writes it."""
    return weights_beside(frames, tmp_path_factory.mktemp("beside") / "nano.onnx")


@pytest.fixture
def traced(frames: Path) -> ir.Model:
    """The graph of `frames`, as tracing gives it: without a manifest."""
    return graph_of(frames)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, traced: ir.Model) -> ir.Model:
    """Exports take the graph of nano, also of other weights, and with what a test changes in it."""
    monkeypatch.setattr(dsunet_export.onnx, "trace_model", lambda model, options: traced)
    return traced


@pytest.fixture
def photo() -> NDArray[np.uint8]:
    """61×83×3 with smooth and noisy parts, the same in every run."""
    rows, columns = np.mgrid[0:61, 0:83]
    smooth = np.stack([rows * 4, columns * 3, (rows + columns) * 1.5], axis=-1)
    noise = np.random.default_rng(1).normal(0, 15, smooth.shape)
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def float16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small artifact to build engines of."""
    return graph(tmp_path_factory.mktemp("float16") / "small.onnx")


@pytest.fixture(scope="session")
def float32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in float32."""
    return graph(tmp_path_factory.mktemp("float32") / "small.onnx", "float32")


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused without one must be refused on machines that have one, too."""
    pretend_gpu(monkeypatch, None)


@pytest.fixture
def older_engine(tmp_path: Path) -> Iterator[Path]:
    """An engine and its manifest that a failing build must leave as they are."""
    folder = tmp_path / "engines"
    folder.mkdir()
    output = folder / "x.engine"
    output.write_bytes(b"an older engine")
    output.with_name("x.engine.json").write_bytes(b"its manifest")
    yield output
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "x.engine": b"an older engine",
        "x.engine.json": b"its manifest",
    }
