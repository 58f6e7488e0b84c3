"""The C library, built by `make test-cpp` in build/cpp; its tests skip where it is not built."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cpp.binding import Library, find_onnxruntime

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
def library(build: Path, onnxruntime_library: Path) -> Library:
    """The C interface, with ONNX Runtime from the Python package."""
    os.environ["DSUNET_ONNXRUNTIME_LIBRARY"] = str(onnxruntime_library)
    return Library(build / "libdsunet_runtime.so")
