"""Engines that do not fit the machine: each message says what to install or to build."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsunet_runtime import BackendError, cuda
from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.cuda import Gpu
from tests.runtime import engines, fake_tensorrt
from tests.runtime.backends.tensorrt.helpers import REBUILD, change_engine, fails_to_load, runs
from tests.runtime.conftest import Machine
from tests.runtime.fake_cuda import GPU, FakeCuda

AMPERE = Gpu(0, "NVIDIA GeForce RTX 3090", "8.6", 24 << 30, "0000:01:00.0")
HOPPER = Gpu(0, "NVIDIA H100", "9.0", 80 << 30, "0000:01:00.0")


class TestMachine:
    def test_not_installed(
        self, machine: Machine, engine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(__import__("sys").modules, "tensorrt_rtx", None)
        fails_to_load(
            engine,
            r"needs TensorRT for RTX, which is not installed: "
            r"pip install tensorrt-rtx==1\.7\.1\.116$",
        )

    def test_installed_but_does_not_load(
        self, machine: Machine, engine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def load(flavor: Flavor) -> None:
            raise OSError("libtensorrt_rtx.so.1: cannot open")

        monkeypatch.setattr(Flavor, "load", load)
        fails_to_load(
            engine,
            r"needs TensorRT for RTX, which is installed but does not load \(libtensorrt_rtx.*"
            r"`pip install tensorrt-rtx==1\.7\.1\.116 --force-reinstall`$",
        )

    def test_other_version(self, machine: Machine, engine: Path) -> None:
        machine.use(Flavor.RTX, version="1.8.0.1")
        fails_to_load(
            engine,
            r"built with TensorRT for RTX 1\.7\.1\.116, which the installed 1\.8\.0\.1 cannot load"
            rf": pip install tensorrt-rtx==1\.7\.1\.116, or .*{REBUILD} 8\.9 --precision",
        )

    def test_no_driver(
        self, machine: Machine, engine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_driver() -> cuda.Cuda:
            raise BackendError("no working NVIDIA driver")

        monkeypatch.setattr("dsunet_runtime.backends.tensorrt.compatibility.find", no_driver)
        fails_to_load(engine, r"no working NVIDIA driver; without a GPU, run \S*/a\.onnx instead")

    def test_no_gpu(self, engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        Machine(FakeCuda(()), monkeypatch)
        fails_to_load(engine, r"CUDA finds no GPU: .*DEVICES; without a GPU, run \S*/a\.onnx")

    def test_other_compute_capability(self, monkeypatch: pytest.MonkeyPatch, engine: Path) -> None:
        Machine(FakeCuda((AMPERE,)), monkeypatch)
        change_engine(engine, compute_capabilities=("8.9", "12.0"))
        fails_to_load(
            engine,
            r"built for compute capability 8\.9 and 12\.0, and NVIDIA GeForce RTX 3090 has "
            rf"8\.6: build one for it: {REBUILD} 8\.6 --precision",
        )

    def test_one_of_several_compute_capabilities(
        self, monkeypatch: pytest.MonkeyPatch, engine: Path
    ) -> None:
        Machine(FakeCuda((AMPERE,)), monkeypatch)
        change_engine(engine, compute_capabilities=("8.6", "8.9"))
        runs(engine)

    def test_gpu_that_only_the_classic_one_supports(
        self, monkeypatch: pytest.MonkeyPatch, engine: Path
    ) -> None:
        Machine(FakeCuda((HOPPER,)), monkeypatch)
        fails_to_load(engine, "NVIDIA H100 has 9.0: build .* --flavor tensorrt --precision")

    def test_rtx_engines_are_for_every_card_and_platform(
        self, machine: Machine, engine: Path
    ) -> None:
        change_engine(engine, platform="windows amd64", gpus=("rtx4080",))
        runs(engine)

    def test_classic_engines_are_for_one_card_and_platform(
        self, machine: Machine, tmp_path: Path
    ) -> None:
        machine.use(Flavor.TENSORRT)
        path = engines.frames(tmp_path / "a.engine", flavor=Flavor.TENSORRT)
        runs(path)
        change_engine(path, gpus=("NVIDIA GeForce RTX 4080",))
        fails_to_load(
            path,
            "built on NVIDIA GeForce RTX 4080, and the GPU is .* 4090: build it on this machine",
        )
        change_engine(path, gpus=(GPU.name,), platform="windows amd64")
        fails_to_load(
            path,
            "built for windows amd64, and this machine is .*: build it on this machine: `dsunet-",
        )

    @pytest.mark.parametrize(
        ("finding", "remedy"),
        [
            ("OLD_CUDA_DRIVER", "update the NVIDIA driver"),
            ("INSUFFICIENT_GPU_MEMORY", "stop other processes on the GPU, or build the engine"),
            ("MALFORMED_ENGINE", f"build it again: {REBUILD}"),
        ],
    )
    def test_what_tensorrt_finds(
        self, machine: Machine, engine: Path, finding: str, remedy: str
    ) -> None:
        machine.trt.diagnostics = int(fake_tensorrt.EngineInvalidityDiagnostics[finding])
        words = finding.lower().replace("_", " ")
        fails_to_load(engine, rf"cannot run on this machine \({words}\): {remedy}")
        assert machine.device.closed
