"""Engines in C++ on the stand-ins: what is refused or fails while an engine opens."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dsunet_runtime.artifact.file_digest import FileDigest
from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.artifact.manifest_file import read_manifest
from dsunet_runtime.backends.tensorrt import compatibility
from dsunet_runtime.cuda import nvml
from tests.cpp import c_interface
from tests.cpp.engine_cases import Case, attempt, check, images
from tests.cpp.stand_ins import NO_DEVICE, StandIn
from tests.runtime import engines
from tests.runtime.fake_cuda import GPU


def test_another_version(case: Case) -> None:
    major = case.version.split(".")[0]
    case.build(tensorrt_version=f"{major}.0.9.8")
    title, install = case.flavor.title, f"{case.flavor.distribution}=={major}.0.9.8"
    assert case.refusal() == (
        f"{case.path}: built with {title} {major}.0.9.8, which the installed {case.version} cannot "
        f"load: pip install {install}, and name its library (library in dsunet_options, or the "
        f"environment variable DSUNET_TENSORRT_LIBRARY), or build it again: {case.rebuild}"
    )


def test_another_major_version_than_that_of_the_headers(case: Case) -> None:
    case.build(tensorrt_version="7.2.3.4")
    major, minor = case.version.split(".")[:2]
    assert case.refusal().startswith(
        f"{case.path}: needs {case.flavor.title} 7.2.3.4, and this backend was built with the "
        f"headers of {case.flavor.title} {major}.{minor}: build it with those of that version"
    )


def test_the_real_library_is_not_called_with_the_headers_of_tests(rtx: Case) -> None:
    libraries = pytest.importorskip("tensorrt_rtx_libs")
    (real,) = Path(libraries.__file__).parent.glob("libtensorrt_rtx.so.*")
    assert "which the installed 1." in rtx.refusal(library=real)


def test_a_missing_library(case: Case, tmp_path: Path) -> None:
    message = case.refusal(library=tmp_path / "none.so")
    assert message.startswith(
        f"{case.path}: needs {case.flavor.title}, which is not installed: pip install "
        f"{case.flavor.distribution}=={case.version}, and name its library"
    )
    assert "none.so" in message


def test_a_library_that_is_not_tensorrt(case: Case, gpu: StandIn) -> None:
    assert "the library that was loaded is not TensorRT: pip install" in case.refusal(
        library=gpu.path
    )


def test_the_environment_names_the_library(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSUNET_TENSORRT_LIBRARY", str(case.library))
    with case.open(library=None) as segmenter:
        check(segmenter, images((8, 8)))


def test_libraries_that_the_loader_finds(case: Case, gpu: StandIn, tmp_path: Path) -> None:
    folder = tmp_path / "libraries"
    folder.mkdir()
    stem = "libtensorrt_rtx.so" if case.flavor is Flavor.RTX else "libnvinfer.so"
    shutil.copy(case.library, folder / f"{stem}.{case.version.split('.')[0]}")
    shutil.copy(gpu.path, folder)
    (folder / "libcuda.so.1").symlink_to(folder / gpu.path.name)
    code = f"""
import numpy as np
from pathlib import Path
from tests.cpp.c_interface import Library
from tests.cpp.stand_ins import StandIn
stand_in = StandIn(Path({str(folder)!r}))
stand_in.reset()
stand_in.add_gpu({GPU.name!r}, {GPU.compute_capability!r})
with Library(Path({str(case.runtime.path)!r})).open({str(case.path)!r}) as segmenter:
    print(int(segmenter(np.full((2, 2, 3), 80, np.uint8))[0][1, 1]))
"""
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **{k: v for k, v in os.environ.items() if k != "DSUNET_CUDA_LIBRARY"},
            "LD_LIBRARY_PATH": str(folder),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.stdout, found.stderr) == ("80\n", "")


def test_no_driver(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSUNET_CUDA_LIBRARY", str(tmp_path / "none.so"))
    message = case.refusal()
    assert message.startswith("no working NVIDIA driver: install one that supports the GPU (")
    assert message.endswith(f"; without a GPU, run {case.path.with_suffix('.onnx')} instead")


def test_a_driver_without_a_function(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSUNET_CUDA_LIBRARY", "libm.so.6")
    assert "supports the GPU (it has no function cuInit)" in case.refusal()


def test_a_driver_that_does_not_start(case: Case, gpu: StandIn) -> None:
    gpu.fail("cuInit", NO_DEVICE)
    assert "supports the GPU (CUDA_ERROR_NO_DEVICE)" in case.refusal()


def test_no_gpu(case: Case, gpu: StandIn) -> None:
    gpu.reset()
    assert case.refusal() == (
        f"{case.path}: CUDA finds no GPU: check CUDA_VISIBLE_DEVICES; without a GPU, run "
        f"{case.path.with_suffix('.onnx')} instead"
    )


def test_a_gpu_by_number(case: Case, gpu: StandIn) -> None:
    assert case.refusal(device=1) == (
        f"{case.path}: CUDA finds no GPU 1, only 0 to 0: set another device, or check "
        f"CUDA_VISIBLE_DEVICES"
    )
    gpu.reset()
    gpu.add_gpu("NVIDIA H100", "9.0")
    gpu.add_gpu(GPU.name, GPU.compute_capability)
    assert "NVIDIA H100 has 9.0" in case.refusal()
    with case.open(device=1) as segmenter:
        check(segmenter, images((8, 8)))


@pytest.mark.parametrize(("capability", "rtx_builds"), [("8.6", True), ("9.0", False)])
def test_another_compute_capability(
    case: Case, gpu: StandIn, capability: str, rtx_builds: bool
) -> None:
    gpu.reset()
    gpu.add_gpu("NVIDIA Other", capability)
    manifest = read_manifest(case.path)
    flavor = case.flavor if rtx_builds else Flavor.TENSORRT
    command = compatibility.rebuild_command(case.path, manifest, flavor, (capability,))
    assert case.refusal() == (
        f"{case.path}: built for compute capability 8.9, and NVIDIA Other has {capability}: build "
        f"one for it: {command}"
    )


def test_another_gpu_of_the_compute_capability(case: Case, gpu: StandIn) -> None:
    gpu.reset()
    gpu.add_gpu("NVIDIA L4", GPU.compute_capability)
    if case.flavor is Flavor.RTX:
        case.open().close()
        return
    assert case.refusal() == (
        f"{case.path}: built on {GPU.name}, and the GPU is NVIDIA L4: build it on this machine: "
        f"{case.rebuild}"
    )


def test_another_platform(case: Case) -> None:
    case.build(platform="windows amd64")
    if case.flavor is Flavor.RTX:
        case.open().close()
        return
    assert case.refusal().startswith(f"{case.path}: built for windows amd64, and this machine is ")
    assert case.refusal().endswith(f": build it on this machine: {case.rebuild}")


def test_an_engine_of_the_tensors_form(case: Case) -> None:
    engines.tensors(case.path, flavor=case.flavor, tensorrt_version=case.version)
    assert case.refusal(c_interface.ARTIFACT) == (
        f"{case.path}: is of the tensors form, in which the caller does the image processing, and "
        f"the C interface takes frames: export it again with `--input frames`, and build the "
        f"engine of that"
    )


def test_an_engine_without_weights(case: Case) -> None:
    case.build(stripped=True)
    assert "--strip-weights" in case.rebuild
    command = case.rebuild.replace(" --strip-weights", "")
    assert case.refusal() == (
        f"{case.path}: has no weights, and only the Python runtime loads them from the ONNX file: "
        f"build it with weights: {command}"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimization_level": 5},
        {"shared_weights": FileDigest("backbone.data", 9, "0" * 64)},
        {"compute_capabilities": ("8.9", "12.0")},
        {"batch": (2, 2, 2)},
        {"height": (8, 16, 64), "width": (9, 17, 65)},
    ],
)
@pytest.mark.parametrize("compute", ["float32", "float16", "bfloat16"])
def test_the_command_to_build_again_is_that_of_python(
    case: Case, changes: dict[str, Any], compute: str
) -> None:
    case.build(**changes)
    precision = dataclasses.replace(read_manifest(case.path).precision, compute=compute)
    case.alter(case.path.read_text().replace("uint8", "int32"), precision=precision)
    assert case.refusal(c_interface.ARTIFACT) == (
        f"{case.path}: its inputs and outputs differ from those in its manifest: build it again: "
        f"{case.rebuild}"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"mask"', '"other"'),
        ("INPUT", "OUTPUT"),
        ("uint8", "float"),
        ("[-1, -1, -1, 3]", "[-1, -1, 3]"),
        ("[4, 64, 64, 3]", "[4, 64, 65, 3]"),
        ("[1, 1, 1, 3]", "[1, 1, 2, 3]"),
        ("[2, 16, 16, 3]", "[2, 17, 16, 3]"),
        ("[-1, -1, -1, 3]", "[2, 16, 16, 3]"),
    ],
)
def test_an_engine_that_does_not_fit_its_manifest(case: Case, old: str, new: str) -> None:
    text = case.path.read_text()
    assert old in text
    case.alter(text.replace(old, new))
    assert "its inputs and outputs differ from those in its manifest" in case.refusal(
        c_interface.ARTIFACT
    )


def test_an_engine_of_one_shape(case: Case) -> None:
    case.build(batch=(2, 2, 2), height=(8, 8, 8), width=(9, 9, 9))
    text = case.path.read_text()
    case.alter(text.replace("[-1, -1, -1, 3]", "[2, 8, 9, 3]").replace("[-1, -1, -1]", "[2, 8, 9]"))
    with case.open() as segmenter:
        check(segmenter, images((8, 9), (8, 9), (8, 9)))


def test_options_of_onnx_files(case: Case) -> None:
    assert "apply to ONNX files only" in case.refusal(provider="cpu")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("createInferRuntime", "TensorRT does not start: CUDA failed"),
        ("deserializeCudaEngine", "TensorRT cannot load it: magicTag failed"),
        ("createExecutionContext", "TensorRT cannot create an execution context: out of memory"),
    ],
)
def test_tensorrt_fails_to_open(case: Case, gpu: StandIn, call: str, message: str) -> None:
    gpu.fail(call)
    assert case.refusal() == f"{case.path}: {message}"


def test_a_runtime_cache_that_is_not_taken(rtx: Case, gpu: StandIn) -> None:
    gpu.fail("setRuntimeCache")
    assert rtx.refusal() == "TensorRT failed: no reason given"


@pytest.mark.parametrize(
    ("diagnostics", "reasons", "remedy"),
    [
        (16 | 4, "insufficient gpu memory, old cuda driver", "stop other processes on the GPU"),
        (4, "old cuda driver", "update the NVIDIA driver"),
        (8, "old cuda runtime", "update the NVIDIA driver"),
        (64, "cuda error", "update the NVIDIA driver"),
        (32, "malformed engine", "build it again: `dsunet-export trt"),
        (1 | 2, "unsupported cc, version mismatch", "build it again: `dsunet-export trt"),
        (0, "no reason given", "build it again: `dsunet-export trt"),
    ],
)
def test_an_invalid_engine(
    rtx: Case, gpu: StandIn, diagnostics: int, reasons: str, remedy: str
) -> None:
    gpu.set("validity", 2)
    gpu.set("diagnostics", diagnostics)
    assert rtx.refusal().startswith(f"{rtx.path}: cannot run on this machine ({reasons}): {remedy}")


def test_a_suboptimal_engine_runs(rtx: Case, gpu: StandIn) -> None:
    gpu.set("validity", 1)
    rtx.open().close()


OPENING = (
    "cuDriverGetVersion", "cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetName",
    "cuDeviceGetAttribute", "cuDevicePrimaryCtxRetain", "cuCtxPushCurrent", "cuStreamCreate",
    "cuEventCreate",
)  # fmt: skip


@pytest.mark.parametrize("call", OPENING)
def test_a_call_of_cuda_fails_while_it_opens(case: Case, gpu: StandIn, call: str) -> None:
    if call == "cuDriverGetVersion" and nvml.driver_version():
        pytest.skip("the version of CUDA is asked for where NVML has none")
    for skipped in range(1 if call == "cuCtxPushCurrent" else 3):  # the second is of `close`
        gpu.fail(call, skipped=skipped)
        error = attempt(lambda: case.open().close())
        assert error or skipped > 0
        if error:
            assert error.status == c_interface.BACKEND
            assert str(error) == f"CUDA failed: {call}: CUDA_ERROR_UNKNOWN"
        gpu.fail(call, 0)
        assert gpu.held == ""
