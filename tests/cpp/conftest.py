"""The C library, built by `make test-cpp` in build/cpp; its tests skip where it is not built."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dsunet_runtime.artifact.flavor import Flavor
from tests.cpp.c_interface import Library, find_onnxruntime
from tests.cpp.engine_cases import FLAVORS, Case
from tests.cpp.example_programs import Examples
from tests.cpp.stand_ins import StandIn
from tests.runtime import artifacts
from tests.runtime.fake_cuda import GPU

BUILD = Path(os.environ.get("DSUNET_CPP_BUILD", Path(__file__).parents[2] / "build/cpp"))


@pytest.fixture(scope="session")
def build() -> Path:
    """The folder of the build."""
    if not (BUILD / "libdsunet_runtime.so").exists():
        pytest.skip("the C library is not built: run `make test-cpp`")
    return BUILD


@pytest.fixture(scope="session")
def onnxruntime_library() -> Path:
    """The shared library of the installed Python package."""
    return find_onnxruntime()


@pytest.fixture(scope="session")
def library(build: Path, onnxruntime_library: Path, request: pytest.FixtureRequest) -> Library:
    """The C interface, with ONNX Runtime from the Python package; see `WITH_ALL_HEADERS`."""
    os.environ["DSUNET_ONNXRUNTIME_LIBRARY"] = str(onnxruntime_library)
    backends = build / getattr(request, "param", "dsunet")
    if not backends.exists():
        pytest.skip("there are no newest headers of ONNX Runtime: see get_headers.sh")
    return Library(build / "libdsunet_runtime.so", backends)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An artifact that takes frames of any size."""
    return artifacts.frames(tmp_path / "a.onnx")


@pytest.fixture
def examples(build: Path, onnxruntime_library: Path) -> Examples:
    """The built examples."""
    return Examples(build / "examples", onnxruntime_library)


@pytest.fixture
def backends(build: Path) -> Path:
    """The folder of stand_in_backend.cpp, which stands in for ONNX Runtime's backend."""
    folder = build / "stand_in"
    if not folder.exists():
        pytest.skip("the test programs are not built: configure with -DDSUNET_TESTS=ON")
    return folder


@pytest.fixture(scope="session")
def stand_ins(build: Path) -> Path:
    """The folder of the stand-ins."""
    folder = build / "stand_ins"
    if not (folder / "libstand_in_tensorrt_rtx.so").exists():
        pytest.skip(
            "the stand-ins of TensorRT are not built: run `runtime/cpp/tests/run.sh "
            "-DTENSORRT_INCLUDE_DIR=FOLDER` with NVIDIA's headers"
        )
    return folder


@pytest.fixture(scope="session")
def runtime(build: Path) -> Library:
    """The C interface."""
    return Library(build / "libdsunet_runtime.so")


@pytest.fixture
def gpu(stand_ins: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A GPU, of which everything must have been released in the end."""
    stand_in = StandIn(stand_ins)
    monkeypatch.setenv("DSUNET_CUDA_LIBRARY", str(stand_in.path))
    monkeypatch.delenv("DSUNET_TENSORRT_LIBRARY", raising=False)
    stand_in.reset()
    stand_in.add_gpu(GPU.name, GPU.compute_capability)
    yield stand_in
    assert stand_in.held == ""
    assert stand_in.faults == ""


@pytest.fixture(params=FLAVORS)
def flavor(request: pytest.FixtureRequest) -> Flavor:
    return Flavor(request.param)


@pytest.fixture
def case(gpu: StandIn, runtime: Library, stand_ins: Path, tmp_path: Path, flavor: Flavor) -> Case:
    return Case(runtime, stand_ins, tmp_path, flavor)


@pytest.fixture
def classic(gpu: StandIn, runtime: Library, stand_ins: Path, tmp_path: Path) -> Case:
    return Case(runtime, stand_ins, tmp_path, Flavor.TENSORRT)


@pytest.fixture
def rtx(gpu: StandIn, runtime: Library, stand_ins: Path, tmp_path: Path) -> Case:
    return Case(runtime, stand_ins, tmp_path, Flavor.RTX)
