"""Fixtures of the tests that need a GPU.

They skip the test, with a reason, without a driver, a GPU, or a TensorRT that builds for the GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import dsunet_runtime
from dsunet_runtime import BackendError, Segmenter
from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.cuda import Cuda, Device, find
from tests.runtime import engine_builds


@pytest.fixture(scope="session")
def cuda() -> Cuda:
    try:
        cuda = find()
    except BackendError as error:
        pytest.skip(str(error))
    if not cuda.gpus():
        pytest.skip("the driver shows no GPU")
    return cuda


@pytest.fixture(scope="session", params=Flavor)
def flavor(request: pytest.FixtureRequest, cuda: Cuda) -> Flavor:
    """A flavor of TensorRT that builds for the first GPU."""
    flavor: Flavor = request.param
    try:
        trt = flavor.load()
    except (ImportError, OSError) as error:
        pytest.skip(f"{flavor.title} is not installed ({error})")
    capability = cuda.gpus()[0].compute_capability
    member = f"SM{capability.replace('.', '')}"
    if flavor is Flavor.RTX and not hasattr(trt.ComputeCapability, member):
        pytest.skip(f"{flavor.title} does not build for compute capability {capability}")
    return flavor


@pytest.fixture(scope="session")
def engine(flavor: Flavor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An engine of the arithmetic in `artifacts.py`, for the first GPU."""
    return engine_builds.small_engine(
        tmp_path_factory.mktemp(flavor.value), "--flavor", flavor.value
    )


@pytest.fixture(scope="session")
def nano_graph(cuda: Cuda, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An FP16 graph of `nano`, with random weights."""
    pytest.importorskip("torch", reason="PyTorch, which exports the graph, is not installed")
    graph = tmp_path_factory.mktemp("nano") / "nano.onnx"
    engine_builds.export("onnx", *engine_builds.NANO, "-o", graph)
    return graph


@pytest.fixture(scope="session")
def nano(flavor: Flavor, nano_graph: Path) -> Path:
    """An engine of it, beside it."""
    path = nano_graph.with_name(f"{flavor.value}.engine")
    engine_builds.export("trt", nano_graph, "-o", path, "--flavor", flavor.value)
    return path


@pytest.fixture
def segmenter(engine: Path) -> Iterator[Segmenter]:
    with dsunet_runtime.load(engine) as segmenter:
        yield segmenter


@pytest.fixture
def device(cuda: Cuda) -> Iterator[Device]:
    with cuda.open(cuda.gpus()[0]) as device, device.current():
        yield device
