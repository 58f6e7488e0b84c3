"""The kernels that TensorRT for RTX compiles, kept beside the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import dsunet_runtime
from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.backends.tensorrt import runtime_cache
from dsunet_runtime.backends.tensorrt.runtime_cache import RuntimeCache, cache_file
from dsunet_runtime.cuda import Gpu
from tests.runtime import engines, fake_tensorrt
from tests.runtime.backends.tensorrt.helpers import runs
from tests.runtime.conftest import Machine
from tests.runtime.fake_cuda import GPU, FakeCuda
from tests.runtime.test_segmenter import random_image

AMPERE = Gpu(0, "NVIDIA GeForce RTX 3090", "8.6", 24 << 30, "0000:01:00.0")


class TestRuntimeCache:
    @pytest.fixture
    def file(self, machine: Machine, engine: Path) -> Path:
        return cache_file(engine, GPU, "cuda13.0", fake_tensorrt.VERSION)

    def compiled(self, machine: Machine) -> list[str]:
        config = machine.trt.engines[-1].config
        assert config is not None
        return config.compiled

    def test_name(self, file: Path) -> None:
        name = "a.engine.NVIDIA-GeForce-RTX-4090_cuda13.0_1.7.1.116.cache"
        assert file.name == name

    def test_name_with_the_driver(
        self, machine: Machine, engine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("dsunet_runtime.cuda.nvml.driver_version", lambda: "580.95.05")
        runs(engine)
        assert cache_file(engine, GPU, "580.95.05", fake_tensorrt.VERSION).is_file()

    def test_saved_at_once_and_at_the_end(self, machine: Machine, engine: Path, file: Path) -> None:
        with dsunet_runtime.load(engine) as segmenter:
            at_once = file.read_bytes()
            segmenter(random_image(4, 4))
        assert len(file.read_bytes()) > len(at_once) > len(fake_tensorrt.RuntimeCache.HEADER)
        assert sorted(engine.parent.glob("*.tmp")) == []

    def test_used_by_the_next_process(self, machine: Machine, engine: Path, file: Path) -> None:
        runs(engine)
        assert len(self.compiled(machine)) == 2
        written = file.stat().st_mtime_ns
        runs(engine)
        assert self.compiled(machine) == []
        assert file.stat().st_mtime_ns == written

    @pytest.mark.parametrize("content", [b"", b"\xff" * 100], ids=["empty", "noise"])
    def test_what_tensorrt_refuses_is_replaced(
        self, machine: Machine, engine: Path, file: Path, content: bytes
    ) -> None:
        file.write_bytes(content)
        runs(engine)
        assert len(self.compiled(machine)) == 2
        runs(engine)
        assert self.compiled(machine) == []

    def test_as_much_of_something_else_is_saved(self, machine: Machine, file: Path) -> None:
        native = fake_tensorrt.RuntimeConfig(FakeCuda().open(GPU))
        cache = RuntimeCache(native, file)
        assert native.cache is not None
        for kernels in (["a"], ["b"]):
            native.cache.kernels = kernels
            cache.save()
            assert file.read_bytes().endswith(kernels[0].encode())

    def test_what_an_older_driver_left_is_deleted(
        self, machine: Machine, engine: Path, file: Path
    ) -> None:
        older = cache_file(engine, GPU, "cuda12.9", fake_tensorrt.VERSION)
        others = [
            cache_file(engine, AMPERE, "cuda12.9", fake_tensorrt.VERSION),
            cache_file(engine.with_name("b.engine"), GPU, "cuda12.9", fake_tensorrt.VERSION),
            engine.with_name("a.engine.NVIDIA-GeForce-RTX-4090_a_b.txt"),
        ]
        for path in (older, *others):
            path.write_text("")
        runs(engine)
        assert file.exists()
        assert not older.exists()
        assert all(path.exists() for path in others)

    def test_a_folder_that_cannot_be_written(
        self, engine: Path, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*arguments: Any) -> None:
            raise dsunet_runtime.OutputError("no")

        monkeypatch.setattr(runtime_cache, "write_whole", refuse)
        runs(engine)
        assert not file.exists()

    def test_a_file_that_cannot_be_read(self, engine: Path, file: Path) -> None:
        file.mkdir()
        runs(engine)
        assert file.is_dir()
        assert {path.name for path in engine.parent.iterdir()} == {
            "a.onnx",
            "a.engine",
            "a.engine.json",
            file.name,
        }

    def test_none_for_the_classic_one(self, machine: Machine, tmp_path: Path) -> None:
        machine.use(Flavor.TENSORRT)
        runs(engines.frames(tmp_path / "b.engine", flavor=Flavor.TENSORRT))
        assert not list(tmp_path.glob("*.cache"))
