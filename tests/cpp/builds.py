"""Further builds of the C library, such as with sanitizers, each in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD_VARIABLES = (
    "ONNXRUNTIME_INCLUDE_DIR", "nlohmann_json_DIR", "TENSORRT_INCLUDE_DIR", "CUDA_INCLUDE_DIR",
    "CUDA_NVCC", "DSUNET_TENSORRT",
)  # fmt: skip
"""Variables of CMake that another build needs too."""

WITH_ALL_HEADERS = pytest.mark.parametrize("library", ["dsunet", "newest"], indirect=True)
"""Tests of ONNX Runtime's backend with the headers that were found, and with the newest."""


def build_with(build: Path, name: str, targets: tuple[str, ...], *definitions: str) -> Path:
    """Build targets with clang and with what `build` has found; skip without clang."""
    clang = find_clang()
    folder = ROOT / "build" / name
    run(
        "cmake", "-S", ROOT / "runtime/cpp", "-B", folder, "-G", "Ninja",
        f"-DCMAKE_CXX_COMPILER={clang}", f"-DCMAKE_C_COMPILER={clang.replace('++', '')}",
        "-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DDSUNET_EXAMPLES=OFF",
        *(f"-D{name}={cached(build, name)}" for name in BUILD_VARIABLES), *definitions,
    )  # fmt: skip
    run("cmake", "--build", folder, "--target", *targets)
    return folder


def find_clang() -> str:
    """Return clang's compiler for C++; skip without it or without ninja."""
    clang = next(filter(shutil.which, ("clang++", "clang++-14")), None)
    if clang is None or not shutil.which("ninja"):
        pytest.skip("clang++ or ninja is not installed: apt-get install clang ninja-build")
    return clang


def cached(build: Path, name: str) -> str:
    """Return a value of CMake's cache; empty if it has none."""
    lines = (build / "CMakeCache.txt").read_text().splitlines()
    return next((line.partition("=")[2] for line in lines if line.startswith(f"{name}:")), "")


def run(*command: object, **environment: str) -> str:
    """Run a command; fail with its output."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        errors="replace",
        env=os.environ | environment,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-6000:]
    return output
