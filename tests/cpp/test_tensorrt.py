"""Engines in C++, on stand-ins of CUDA's driver and of both flavors of TensorRT."""

from __future__ import annotations

import concurrent.futures
import ctypes
import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dsunet_runtime.artifact import read_manifest
from dsunet_runtime.backends.tensorrt import compatibility
from dsunet_runtime.backends.tensorrt.runtime_cache import cache_file
from dsunet_runtime.cuda import nvml
from dsunet_runtime.flavor import Flavor
from dsunet_runtime.manifest import digest
from tests.cpp import binding
from tests.cpp.binding import (
    BGR,
    BGRA,
    BT601_LIMITED,
    BT709_FULL,
    NV12,
    RGB,
    RGBA,
    CallError,
    Frame,
    Library,
    Mask,
    Segmenter,
)
from tests.cpp.stand_ins import NO_DEVICE, OUT_OF_MEMORY, StandIn
from tests.runtime import artifacts, engines
from tests.runtime.fake_cuda import GPU

FLAVORS = (Flavor.TENSORRT, Flavor.RTX)
FORMATS = (RGB, BGR, RGBA, BGRA, NV12)
BYTES = {RGB: 3, BGR: 3, RGBA: 4, BGRA: 4}
Images = list[NDArray[np.uint8]]


@pytest.fixture(scope="session")
def stand_ins(build: Path) -> Path:
    """The folder of the stand-ins."""
    folder = build / "stand_ins"
    if not (folder / "libstand_in_tensorrt_rtx.so").exists():
        pytest.skip("the stand-ins of TensorRT are not built: run `make test-cpp`")
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


def library_of(stand_ins: Path, flavor: Flavor) -> Path:
    return stand_ins / f"libstand_in_{flavor.module}.so"


def version_of(stand_ins: Path, flavor: Flavor) -> str:
    calls = ctypes.CDLL(str(library_of(stand_ins, flavor)))
    parts = ("Major", "Minor", "Patch", "Build")
    return ".".join(str(getattr(calls, f"getInferLib{part}Version")()) for part in parts)


class Case:
    """An engine of a flavor, and how to open it."""

    def __init__(self, runtime: Library, stand_ins: Path, folder: Path, flavor: Flavor) -> None:
        self.runtime = runtime
        self.stand_ins = stand_ins
        self.flavor = flavor
        self.path = folder / "a.engine"
        self.library = library_of(stand_ins, flavor)
        self.version = version_of(stand_ins, flavor)
        self.build()

    def build(self, **changes: Any) -> None:
        """Write the engine; `changes` are those of `engines.frames`."""
        given = {"flavor": self.flavor, "tensorrt_version": self.version, **changes}
        engines.frames(self.path, **given)

    def alter(self, text: str, **changes: Any) -> None:
        """Give the engine another content, and its manifest the hash of that and other changes."""
        self.path.write_text(text)
        manifest = read_manifest(self.path)
        assert manifest.engine is not None
        engine = dataclasses.replace(manifest.engine, file=digest(self.path))
        engines.write_manifest(self.path, dataclasses.replace(manifest, engine=engine, **changes))

    def open(self, **options: Any) -> Segmenter:
        return self.runtime.open(self.path, **{"library": self.library, **options})

    def refusal(self, status: int = binding.BACKEND, **options: Any) -> str:
        """The message with which it is not opened."""
        with pytest.raises(CallError) as caught:
            self.open(**options)
        assert caught.value.status == status, caught.value
        return str(caught.value)

    @property
    def rebuild(self) -> str:
        """The command of Python's messages."""
        return compatibility.rebuild_command(self.path, read_manifest(self.path))


@pytest.fixture
def case(gpu: StandIn, runtime: Library, stand_ins: Path, tmp_path: Path, flavor: Flavor) -> Case:
    return Case(runtime, stand_ins, tmp_path, flavor)


@pytest.fixture
def classic(gpu: StandIn, runtime: Library, stand_ins: Path, tmp_path: Path) -> Case:
    return Case(runtime, stand_ins, tmp_path, Flavor.TENSORRT)


@pytest.fixture
def rtx(gpu: StandIn, runtime: Library, stand_ins: Path, tmp_path: Path) -> Case:
    return Case(runtime, stand_ins, tmp_path, Flavor.RTX)


def images(*sizes: tuple[int, int], seed: int = 3) -> Images:
    random = np.random.default_rng(seed)
    return [random.integers(0, 256, (*size, 3), np.uint8) for size in sizes]


def check(segmenter: Segmenter, given: Images) -> None:
    for found, image in zip(segmenter(*given), given, strict=True):
        assert np.array_equal(found, artifacts.expected_frames_mask(image))


# Host memory


@pytest.mark.parametrize("interleaved", [0, 1])
def test_masks(case: Case, gpu: StandIn, interleaved: int) -> None:
    gpu.set("interleaved", interleaved)
    with case.open() as segmenter:
        check(segmenter, images((40, 60)))
        check(segmenter, images((33, 17), (1, 1), (1, 9), (40, 60), (64, 64), (33, 17)))
        check(segmenter, images(*[(16, 16)] * 9))
        description = segmenter.describe()
        driver = nvml.driver_version() or "cuda13.0"
        assert description.machine.decode() == ", ".join(
            (f"{case.flavor.title} {case.version}", GPU.name, driver)
        )
        assert description.provider.decode() == case.flavor.value
        assert (description.batch.minimum, description.batch.maximum) == (1, 4)


def test_a_smallest_batch_is_filled_up(case: Case) -> None:
    case.build(batch=(3, 4, 4))
    with case.open() as segmenter:
        check(segmenter, images((5, 7), (9, 3)))


def test_threads_share_one_context(case: Case, gpu: StandIn) -> None:
    gpu.set("interleaved", 1)
    gpu.set("slow", 1)

    def work(seed: int) -> None:
        for turn in range(8):
            check(segmenter, images((3 + seed, 5 + turn), (4, 4), seed=seed))

    with case.open() as segmenter, concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))


def test_two_engines_at_once(case: Case) -> None:
    with case.open() as one, case.open() as other:
        check(one, images((8, 8)))
        check(other, images((9, 9)))
        check(one, images((10, 10)))


def test_a_steady_state_allocates_nothing(case: Case, gpu: StandIn) -> None:
    calls = ("cuMemAlloc", "cuMemHostAlloc", "cuStreamCreate", "cuEventCreate", "setInputShape")
    with case.open() as segmenter:
        check(segmenter, images((32, 48)))
        before = [gpu.calls(call) for call in calls]
        for seed in range(3):
            check(segmenter, images((32, 48), seed=seed))
        assert [gpu.calls(call) for call in calls] == before


# Refusals


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
from tests.cpp.binding import Library
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
    assert case.refusal(binding.ARTIFACT) == (
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
        binding.ARTIFACT
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


def attempt(action: Callable[[], object]) -> CallError | None:
    try:
        action()
    except CallError as error:
        return error
    return None


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
            assert error.status == binding.BACKEND
            assert str(error) == f"CUDA failed: {call}: CUDA_ERROR_UNKNOWN"
        gpu.fail(call, 0)
        assert gpu.held == ""


RUNNING = (
    "cuCtxPushCurrent", "cuMemAlloc", "cuMemHostAlloc", "cuMemcpyHtoDAsync", "cuMemcpyDtoHAsync",
    "cuStreamCreate", "cuStreamWaitEvent", "cuEventCreate", "cuEventRecord", "cuEventSynchronize",
)  # fmt: skip


@pytest.mark.parametrize("call", RUNNING)
def test_a_call_of_cuda_fails_while_it_runs(case: Case, gpu: StandIn, call: str) -> None:
    errors = []
    with case.open() as segmenter:
        for skipped in range(3):
            gpu.fail(call, skipped=skipped)
            given = images((9 + skipped, 9), (8, 8 + skipped))
            errors.append(attempt(lambda given=given: segmenter(*given)))
            gpu.fail(call, 0)
            check(segmenter, images((12, 13), (8, 8)))
    found = {(error.status, str(error)) for error in errors if error}
    assert found == {(binding.BACKEND, f"CUDA failed: {call}: CUDA_ERROR_UNKNOWN")}


def test_too_little_memory(case: Case, gpu: StandIn) -> None:
    with case.open() as segmenter:
        gpu.fail("cuMemAlloc", OUT_OF_MEMORY)
        with pytest.raises(CallError, match="not enough free GPU memory: stop other processes"):
            segmenter(*images((8, 8)))


@pytest.mark.parametrize(
    ("call", "message"), [("setInputShape", "the shape failed"), ("enqueueV3", "the kernel failed")]
)
def test_tensorrt_fails_to_run(case: Case, gpu: StandIn, call: str, message: str) -> None:
    with case.open() as segmenter:
        check(segmenter, images((8, 8)))
        gpu.fail(call)
        with pytest.raises(CallError, match=f"TensorRT failed: {message}$") as caught:
            segmenter(*images((9, 9)))
        assert caught.value.status == binding.BACKEND
        gpu.fail(call, 0)
        check(segmenter, images((8, 8)))
        check(segmenter, images((9, 9)))


# The runtime cache of TensorRT for RTX


def cache_of(rtx: Case) -> Path:
    driver = nvml.driver_version() or "cuda13.0"
    return cache_file(rtx.path, GPU, driver, rtx.version)


def test_kernels_are_kept(rtx: Case, gpu: StandIn) -> None:
    cache = cache_of(rtx)
    with rtx.open() as segmenter:
        assert cache.read_bytes() == b"kernels:context;"
        check(segmenter, images((8, 9)))
    assert cache.read_bytes() == b"kernels:context;8x9;"
    before, changed = gpu.calls("compile"), cache.stat().st_ino
    with rtx.open() as segmenter:
        check(segmenter, images((8, 9)))
    assert gpu.calls("compile") == before
    assert cache.stat().st_ino == changed


def test_a_damaged_cache_is_written_again(rtx: Case) -> None:
    cache = cache_of(rtx)
    cache.write_bytes(b"damaged")
    rtx.open().close()
    assert cache.read_bytes() == b"kernels:context;"


def test_older_caches_are_deleted(rtx: Case, tmp_path: Path) -> None:
    cache = cache_of(rtx)
    older = cache_file(rtx.path, GPU, "570.1", "1.0.0.1")
    others = [
        cache_file(rtx.path, dataclasses.replace(GPU, name="NVIDIA L4"), "570.1", "1.0.0.1"),
        cache_file(tmp_path / "b.engine", GPU, "570.1", "1.0.0.1"),
        older.with_suffix(".txt"),
    ]
    for path in (older, *others):
        path.write_bytes(b"kernels:")
    rtx.open().close()
    assert cache.exists()
    assert not older.exists()
    assert all(path.exists() for path in others)


def test_a_cache_that_cannot_be_written(rtx: Case) -> None:
    cache_of(rtx).mkdir()
    with rtx.open() as segmenter:
        check(segmenter, images((8, 9)))
    assert not list(rtx.path.parent.glob(".dsunet-*"))


def test_classic_tensorrt_has_no_cache(classic: Case) -> None:
    before = set(classic.path.parent.iterdir())
    with classic.open() as segmenter:
        check(segmenter, images((8, 9)))
    assert set(classic.path.parent.iterdir()) == before


# GPU memory


def enqueue(
    segmenter: Segmenter, frames: list[Frame], masks: list[Mask], stream: int | None
) -> None:
    segmenter.library.require(
        segmenter.library.calls.dsunet_segment_device(
            segmenter.handle,
            (Frame * len(frames))(*frames),
            (Mask * len(masks))(*masks),
            len(frames),
            stream,
        )
    )


class Batch:
    """Frames and masks, packed and adjacent in device memory."""

    def __init__(self, gpu: StandIn, count: int, height: int, width: int) -> None:
        self.shape = (count, height, width)
        pixels = height * width
        self.frames = gpu.allocate(3 * count * pixels)
        self.masks = gpu.allocate(count * pixels)
        self.given = [
            Frame(data=self.frames.address + 3 * pixels * place, width=width, height=height)
            for place in range(count)
        ]
        self.wanted = [Mask(data=self.masks.address + pixels * place) for place in range(count)]

    def check(self, given: NDArray[np.uint8], masks: NDArray[np.uint8]) -> None:
        assert np.array_equal(masks.reshape(self.shape), artifacts.expected_frames_mask(given))


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("default", [None, 1, 2, "own"])
def test_runs_in_order_with_the_work_on_the_stream(
    case: Case, gpu: StandIn, default: Any, interleaved: int
) -> None:
    gpu.set("interleaved", interleaved)
    batch = Batch(gpu, 2, 5, 7)
    stream = gpu.stream() if default == "own" else default
    with case.open() as segmenter:
        runs = []
        for seed in range(4):  # into the same memory, without waiting in between
            given = np.stack(images((5, 7), (5, 7), seed=seed))
            found = np.zeros(2 * 5 * 7, np.uint8)
            gpu.copy(batch.frames.array, given, stream or 0)
            enqueue(segmenter, batch.given, batch.wanted, stream)
            gpu.copy(found, batch.masks.array, stream or 0)
            runs.append((given, found))
        assert not runs[-1][1].any()  # nothing has waited
        gpu.synchronize(stream or 0)
        for given, found in runs:
            batch.check(given, found)
    assert gpu.calls("cuLaunchKernel") == 0
    assert gpu.calls("cuModuleLoadData") == 0


def test_streams_and_threads_share_one_context(case: Case, gpu: StandIn) -> None:
    gpu.set("interleaved", 1)

    def work(seed: int) -> None:
        stream, batch = gpu.stream(), Batch(gpu, 1, 6 + seed, 9)
        for turn in range(6):
            given = np.stack(images((6 + seed, 9), seed=10 * seed + turn))
            found = np.zeros((6 + seed) * 9, np.uint8)
            gpu.copy(batch.frames.array, given, stream)
            frame = batch.given[0]
            frame.format = BGR if turn % 2 else RGB
            enqueue(segmenter, [frame], batch.wanted, stream)
            gpu.copy(found, batch.masks.array, stream)
            check(segmenter, images((4, 4 + seed)))
            gpu.synchronize(stream)
            batch.check(given[..., ::-1] if turn % 2 else given, found)

    with case.open() as segmenter, concurrent.futures.ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))


def test_closing_waits_for_the_gpu(case: Case, gpu: StandIn) -> None:
    batch, stream = Batch(gpu, 1, 5, 7), gpu.stream()
    (given,) = images((5, 7))
    batch.frames.array[:] = given.reshape(-1)
    with case.open() as segmenter:
        enqueue(segmenter, batch.given, batch.wanted, stream)
    batch.check(given[None], batch.masks.array)


class Layout:
    """One frame in memory: its rows, and the fields of a `Frame` and a `Mask` over it."""

    def __init__(
        self, form: int, *, gap: int = 0, region: tuple[int, int, int, int] = (0, 0, 0, 0),
        upside_down: bool = False, threshold: int = 0, mask_gap: int = 0, encoding: int = 0,
    ) -> None:  # fmt: skip
        self.form, self.gap, self.region = form, gap, region
        self.upside_down, self.threshold, self.mask_gap = upside_down, threshold, mask_gap
        self.encoding = encoding
        self.width, self.height = 13, 11
        self.pixel = 1 if form == NV12 else BYTES[form]
        self.stride = self.pixel * (self.width + (form == NV12)) + gap
        self.rows = self.height + ((self.height + 1) // 2 if form == NV12 else 0)
        self.size = self.stride * self.rows
        _, _, width, height = region
        self.mask_width, self.mask_height = (width or self.width), (height or self.height)
        self.mask_stride = self.mask_width + mask_gap
        self.mask_size = self.mask_stride * self.mask_height

    def frame(self, address: int) -> Frame:
        x, y, width, height = self.region
        stride, data = self.stride, address
        if self.upside_down:
            data, stride = address + self.stride * (self.height - 1), -stride
        return Frame(
            data=data, width=self.width, height=self.height, stride=stride, format=self.form,
            encoding=self.encoding, x=x, y=y, region_width=width, region_height=height,
            chroma=address + self.stride * self.height if self.form == NV12 else None,
            chroma_stride=self.stride if self.form == NV12 else 0,
        )  # fmt: skip

    def mask(self, address: int) -> Mask:
        return Mask(data=address, stride=self.mask_stride, threshold=self.threshold)


LAYOUTS = (
    *(Layout(form) for form in FORMATS),
    *(Layout(form, gap=5) for form in FORMATS),
    *(Layout(form, region=(3, 5, 7, 5), gap=3) for form in FORMATS),
    *(Layout(form, region=(4, 2, 1, 1)) for form in (RGB, NV12)),
    *(Layout(form, upside_down=True) for form in (BGR, NV12)),
    *(Layout(NV12, encoding=encoding) for encoding in range(BT601_LIMITED, BT709_FULL + 1)),
    Layout(RGB, mask_gap=4),
    Layout(RGB, threshold=100),
    Layout(BGRA, region=(1, 1, 9, 8), mask_gap=2, threshold=255, gap=1),
)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: str(LAYOUTS.index(layout)))
@pytest.mark.parametrize("offset", [0, 1])
def test_frames_of_every_layout(rtx: Case, gpu: StandIn, layout: Layout, offset: int) -> None:
    """The kernels write what the conversion on the host does; an offset leaves the alignment."""
    count, stream = 3, gpu.stream()
    content = np.random.default_rng(5).integers(0, 256, (count, layout.size), np.uint8)
    frames = [gpu.allocate(layout.size + 1) for _ in range(count)]
    masks = [gpu.allocate(layout.mask_size + 1) for _ in range(count)]
    expected = np.full((count, layout.mask_size), 7, np.uint8)
    for frame, mask, pixels in zip(frames, masks, content, strict=True):
        frame.array[offset:][: layout.size] = pixels
        mask.array[:] = 7
    with rtx.open() as segmenter:
        segmenter.segment(
            [layout.frame(pixels.ctypes.data) for pixels in content],
            [layout.mask(levels.ctypes.data) for levels in expected],
        )
        enqueue(
            segmenter,
            [layout.frame(frame.address + offset) for frame in frames],
            [layout.mask(mask.address + offset) for mask in masks],
            stream,
        )
        gpu.synchronize(stream)
    for mask, levels in zip(masks, expected, strict=True):
        assert np.array_equal(mask.array[offset:][: layout.mask_size], levels)
    if layout.threshold == 0:
        assert len(np.unique(expected)) > 1 or expected.size <= count
    assert gpu.calls("cuLaunchKernel") == 2 * count  # not adjacent


def test_buffers_for_conversion_grow_and_stay(case: Case, gpu: StandIn) -> None:
    stream = gpu.stream()
    with case.open() as segmenter:
        results = []
        for side in (8, 24, 8, 24):  # without waiting in between
            batch = Batch(gpu, 2, side, side)
            given = np.stack(images((side, side), (side, side), seed=side))
            batch.frames.array[:] = given.reshape(-1)
            for frame in batch.given:
                frame.format = BGR
            before = gpu.calls("cuMemAlloc")
            enqueue(segmenter, batch.given, batch.wanted, stream)
            results.append((batch, given, gpu.calls("cuMemAlloc") - before))
        gpu.synchronize(stream)
    for batch, given, _ in results:
        batch.check(given[..., ::-1], batch.masks.array)
    assert [allocations for *_, allocations in results] == [1, 1, 0, 0]


def test_only_what_must_be_converted_is(case: Case, gpu: StandIn) -> None:
    batch, stream = Batch(gpu, 2, 8, 8), gpu.stream()
    given = np.stack(images((8, 8), (8, 8)))
    batch.frames.array[:] = given.reshape(-1)
    with case.open() as segmenter:
        for threshold, launches in ((0, 0), (90, 2)):
            for mask in batch.wanted:
                mask.threshold = threshold
            before = gpu.calls("cuLaunchKernel")
            enqueue(segmenter, batch.given, batch.wanted, stream)
            assert gpu.calls("cuLaunchKernel") - before == launches
            gpu.synchronize(stream)
    expected = np.where(artifacts.expected_frames_mask(given) >= 90, 255, 0)
    assert np.array_equal(batch.masks.array.reshape(2, 8, 8), expected)


def test_memory_without_the_alignment_is_converted(case: Case, gpu: StandIn) -> None:
    batch, stream = Batch(gpu, 3, 8, 8), gpu.stream()  # a mask has 64 bytes
    given = np.stack(images((8, 8), (8, 8), (8, 8)))
    batch.frames.array[:] = given.reshape(-1)
    with case.open() as segmenter:
        for first, launches in ((0, 0), (1, 4)):
            batch.masks.array[:] = 0
            before = gpu.calls("cuLaunchKernel")
            enqueue(segmenter, batch.given[first:], batch.wanted[first:], stream)
            gpu.synchronize(stream)
            assert gpu.calls("cuLaunchKernel") - before == launches
            found = batch.masks.array.reshape(3, 8, 8)[first:]
            assert np.array_equal(found, artifacts.expected_frames_mask(given[first:]))


def test_work_before_a_failure_is_waited_for(case: Case, gpu: StandIn) -> None:
    """The kernel of a call that fails later writes into the buffer of the next call."""
    gpu.set("interleaved", 1)
    content = np.zeros(1, np.uint8)
    with case.open() as segmenter:
        for delay in range(6):
            one, other = Batch(gpu, 1, 8, 8), Batch(gpu, 1, 8, 8)
            given = np.stack(images((8, 8), seed=delay))
            other.frames.array[:] = given.reshape(-1)
            one.given[0].format = other.given[0].format = BGR
            streams = gpu.stream(), gpu.stream()
            for _ in range(delay):
                gpu.copy(content, content, streams[0])
            gpu.fail("enqueueV3")
            with pytest.raises(CallError, match="TensorRT failed"):
                enqueue(segmenter, one.given, one.wanted, streams[0])
            gpu.fail("enqueueV3", 0)
            enqueue(segmenter, other.given, other.wanted, streams[1])
            gpu.synchronize(streams[1])
            other.check(given[..., ::-1], other.masks.array)


def on_the_host(gpu: StandIn, size: int) -> int:
    return np.zeros(size, np.uint8).ctypes.data


def on_another_gpu(gpu: StandIn, size: int) -> int:
    return gpu.allocate(size, 1).address


def cut_short(gpu: StandIn, size: int) -> int:
    return gpu.allocate(size - 1).address


@pytest.mark.parametrize("elsewhere", [on_the_host, on_another_gpu, cut_short])
@pytest.mark.parametrize("which", ["frame", "mask", "chroma"])
def test_memory_that_is_not_of_the_gpu(
    case: Case, gpu: StandIn, which: str, elsewhere: Callable[[StandIn, int], int]
) -> None:
    batch, stream = Batch(gpu, 1, 8, 8), gpu.stream()
    if which == "frame":
        batch.given[0].data = elsewhere(gpu, 8 * 8 * 3)
    elif which == "mask":
        batch.wanted[0].data = elsewhere(gpu, 8 * 8)
    else:
        batch.given[0].format = NV12
        batch.given[0].chroma = elsewhere(gpu, 8 * 4)
    name = {"frame": "a frame", "mask": "a mask", "chroma": "the chroma of a frame"}[which]
    with case.open() as segmenter:
        with pytest.raises(CallError) as caught:
            enqueue(segmenter, batch.given, batch.wanted, stream)
        assert caught.value.status == binding.IMAGE
        assert str(caught.value) == (
            f"{name} is not in the memory of GPU 0 ({GPU.name}): copy it there, or call "
            f"dsunet_segment for frames in host memory"
        )


def test_batches_that_the_engine_does_not_take(case: Case, gpu: StandIn) -> None:
    stream = gpu.stream()
    with case.open() as segmenter:
        for shape, message in (
            ((5, 8, 8), "the batch has 5 frames and this engine takes 1 to 4"),
            ((1, 65, 8), "the image is 8×65"),
        ):
            batch = Batch(gpu, *shape)
            with pytest.raises(CallError, match=message):
                enqueue(segmenter, batch.given, batch.wanted, stream)
        batch = Batch(gpu, 2, 8, 8)
        batch.given[1].height = 7
        with pytest.raises(CallError, match=r"different sizes, 8×8 and 8×7 \(width×height\)"):
            enqueue(segmenter, batch.given, batch.wanted, stream)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("cuCtxPushCurrent", "CUDA failed: cuCtxPushCurrent: CUDA_ERROR_UNKNOWN"),
        ("cuEventRecord", "CUDA failed: cuEventRecord: CUDA_ERROR_UNKNOWN"),
        ("cuStreamWaitEvent", "CUDA failed: cuStreamWaitEvent: CUDA_ERROR_UNKNOWN"),
        ("cuMemAlloc", "CUDA failed: cuMemAlloc: CUDA_ERROR_UNKNOWN"),
        (
            "cuModuleLoadData",
            "kernels that convert .* loaded .*UNKNOWN.*: update the NVIDIA driver",
        ),
        ("cuModuleGetFunction", "CUDA failed: cuModuleGetFunction: CUDA_ERROR_UNKNOWN"),
        ("cuLaunchKernel", "CUDA failed: cuLaunchKernel: CUDA_ERROR_UNKNOWN"),
        ("enqueueV3", "TensorRT failed: the kernel failed"),
    ],
)
def test_a_call_fails_while_it_enqueues(case: Case, gpu: StandIn, call: str, message: str) -> None:
    batch, stream = Batch(gpu, 1, 8, 8), gpu.stream()
    given = np.stack(images((8, 8)))
    batch.frames.array[:] = given.reshape(-1)
    batch.given[0].format = BGR
    with case.open() as segmenter:
        gpu.fail(call)
        with pytest.raises(CallError, match=message):
            enqueue(segmenter, batch.given, batch.wanted, stream)
        gpu.fail(call, 0)
        enqueue(segmenter, batch.given, batch.wanted, stream)
        gpu.synchronize(stream)
    batch.check(given[..., ::-1], batch.masks.array)


def test_a_lost_gpu(runtime: Library, stand_ins: Path, tmp_path: Path, gpu: StandIn) -> None:
    """A frame that is freed too early, which a real GPU answers for ever with an error."""
    case = Case(runtime, stand_ins, tmp_path, Flavor.TENSORRT)
    with case.open() as segmenter:
        gpu.set("lost", 1)
        with pytest.raises(CallError, match="CUDA_ERROR_ILLEGAL_ADDRESS"):
            segmenter(*images((8, 8)))
        with pytest.raises(CallError, match="CUDA_ERROR_ILLEGAL_ADDRESS"):
            segmenter(*images((8, 8)))
    gpu.reset()  # what it held is lost with it


def test_onnx_files_take_host_memory_only(library: Library, tmp_path: Path) -> None:
    path = artifacts.frames(tmp_path / "a.onnx")
    (image,) = images((8, 8))
    levels = np.zeros((8, 8), np.uint8)
    with library.open(path) as segmenter, pytest.raises(CallError, match="engines only"):
        enqueue(segmenter, [binding.packed(image)], [binding.mask_of(levels)], None)
