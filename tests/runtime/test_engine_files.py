"""What is checked before an engine runs: its pair of files, this machine, and the engine itself."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import dsunet_runtime
from dsunet_runtime import ArtifactError, BackendError, cuda, read_manifest
from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.artifact.manifest import Manifest, digest
from dsunet_runtime.artifact.read import check_hashes, check_sizes, engine_manifest_file
from dsunet_runtime.backends.tensorrt import runtime_cache
from dsunet_runtime.backends.tensorrt.engine import LoadedEngine
from dsunet_runtime.backends.tensorrt.log import log_of
from dsunet_runtime.backends.tensorrt.runtime_cache import RuntimeCache, cache_file
from dsunet_runtime.cuda import Gpu
from tests.runtime import artifacts, engines, fake_tensorrt
from tests.runtime.conftest import Machine
from tests.runtime.fake_cuda import GPU, FakeCuda
from tests.runtime.test_segmenter import random_image

HOPPER = Gpu(0, "NVIDIA H100", "9.0", 80 << 30, "0000:01:00.0")
AMPERE = Gpu(0, "NVIDIA GeForce RTX 3090", "8.6", 24 << 30, "0000:01:00.0")
REBUILD = r"`dsunet-export trt \S*/a\.onnx -o \S*/a\.engine --flavor rtx --compute-capability"


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    return engines.frames(tmp_path / "a.engine")


def change(path: Path, **changes: Any) -> None:
    """Fields of the manifest's engine."""
    manifest = read_manifest(path)
    assert manifest.engine is not None
    engines.write_manifest(
        path, dataclasses.replace(manifest, engine=dataclasses.replace(manifest.engine, **changes))
    )


def fails_to_load(path: Path, match: str, kind: type[Exception] = BackendError) -> None:
    with pytest.raises(kind, match=match) as caught:
        dsunet_runtime.load(path)
    assert "\n" not in str(caught.value)


def runs(path: Path) -> None:
    image = random_image(5, 4)
    with dsunet_runtime.load(path) as segmenter:
        np.testing.assert_array_equal(segmenter(image), artifacts.expected_frames_mask(image))


@pytest.mark.usefixtures("machine")
class TestPair:
    def test_manifest(self, engine: Path) -> None:
        manifest = read_manifest(engine)
        assert manifest.engine is not None
        assert Manifest.from_json(manifest.to_json()) == manifest
        check_sizes(engine, manifest)
        check_hashes(engine, manifest)

    def test_renamed_together(self, engine: Path) -> None:
        moved = engine.rename(engine.with_name("b.engine"))
        engine_manifest_file(engine).rename(engine_manifest_file(moved))
        runs(moved)

    def test_missing(self, tmp_path: Path, engine: Path) -> None:
        fails_to_load(tmp_path / "b.engine", r"b\.engine: no such file", ArtifactError)
        engine_manifest_file(engine).unlink()
        fails_to_load(engine, r"a\.engine\.json: missing; .* copy both together", ArtifactError)

    @pytest.mark.parametrize(
        ("content", "match"),
        [
            (b"", "manifest is not readable"),
            (b"[]", "manifest is not readable"),
            (b'{"format_version": 9}', "format version 9"),
            (b'{"format_version": 1}', "format version 1 .* reads 2: export"),
            (b'{"format_version": 2}', "damaged, or was changed"),
            (b"\xff\xfe{}", "not readable: not text"),
        ],
    )
    def test_manifest_that_is_none(self, engine: Path, content: bytes, match: str) -> None:
        engine_manifest_file(engine).write_bytes(content)
        fails_to_load(engine, rf"a\.engine\.json: .*{match}", ArtifactError)

    def test_manifest_that_is_a_folder(self, engine: Path) -> None:
        engine_manifest_file(engine).unlink()
        engine_manifest_file(engine).mkdir()
        fails_to_load(engine, r"a\.engine\.json: is a folder, not a file", ArtifactError)

    def test_manifest_of_an_onnx_file(self, engine: Path) -> None:
        manifest = read_manifest(engine.with_suffix(".onnx"))
        engines.write_manifest(engine, manifest)
        fails_to_load(engine, "describes an ONNX file, not an engine", ArtifactError)

    def test_cut_short(self, engine: Path) -> None:
        engine.write_bytes(engine.read_bytes()[:-1])
        fails_to_load(
            engine, "describes an engine of .*: cut short, or another engine", ArtifactError
        )

    def test_other_engine_of_the_same_size(self, machine: Machine, engine: Path) -> None:
        engine.write_bytes(engine.read_bytes()[::-1])
        fails_to_load(engine, r"SHA-256 differs\): damaged, or another engine", ArtifactError)
        assert not machine.cuda.devices  # before the GPU or TensorRT were touched

    def test_profile_that_does_not_fit(self, engine: Path) -> None:
        manifest = dataclasses.replace(read_manifest(engine), profiles=())
        engines.write_manifest(engine, manifest)
        fails_to_load(engine, "no profile that fits its input 'image'", ArtifactError)

    @pytest.mark.parametrize(
        "change_tensors",
        [
            lambda tensors: tensors | {"more": tensors["mask"]},
            lambda tensors: {"image": tensors["image"]},
            lambda tensors: tensors | {"mask": tensors["mask"] | {"dtype": "float32"}},
            lambda tensors: tensors | {"mask": tensors["mask"] | {"mode": "INPUT"}},
            lambda tensors: tensors | {"mask": tensors["mask"] | {"shape": [-1, -1]}},
            lambda tensors: tensors | {"image": tensors["image"] | {"shape": [2, 8, 8, 3]}},
            lambda tensors: (
                tensors | {"image": tensors["image"] | {"profile": [[1] * 4, [2] * 4, [9] * 4]}}
            ),
        ],
    )
    def test_other_tensors_than_described(self, engine: Path, change_tensors: Any) -> None:
        document = json.loads(engine.read_text())
        fake_tensorrt.write_engine(
            engine, document | {"tensors": change_tensors(document["tensors"])}
        )
        change(engine, file=digest(engine))
        fails_to_load(
            engine,
            f"inputs and outputs differ from those in its manifest.*{REBUILD}",
            ArtifactError,
        )

    def test_sizes_that_the_engine_has_fixed(self, tmp_path: Path, machine: Machine) -> None:
        path = engines.frames(
            tmp_path / "a.engine", batch=(1,) * 3, height=(5,) * 3, width=(4,) * 3
        )
        document = json.loads(path.read_text())
        document["tensors"]["image"]["shape"] = [1, 5, 4, 3]
        fake_tensorrt.write_engine(path, document)
        change(path, file=digest(path))
        runs(path)


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
        change(engine, compute_capabilities=("8.9", "12.0"))
        fails_to_load(
            engine,
            r"built for compute capability 8\.9 and 12\.0, and NVIDIA GeForce RTX 3090 has "
            rf"8\.6: build one for it: {REBUILD} 8\.6 --precision",
        )

    def test_one_of_several_compute_capabilities(
        self, monkeypatch: pytest.MonkeyPatch, engine: Path
    ) -> None:
        Machine(FakeCuda((AMPERE,)), monkeypatch)
        change(engine, compute_capabilities=("8.6", "8.9"))
        runs(engine)

    def test_gpu_that_only_the_classic_one_supports(
        self, monkeypatch: pytest.MonkeyPatch, engine: Path
    ) -> None:
        Machine(FakeCuda((HOPPER,)), monkeypatch)
        fails_to_load(engine, "NVIDIA H100 has 9.0: build .* --flavor tensorrt --precision")

    def test_rtx_engines_are_for_every_card_and_platform(
        self, machine: Machine, engine: Path
    ) -> None:
        change(engine, platform="windows amd64", gpus=("rtx4080",))
        runs(engine)

    def test_classic_engines_are_for_one_card_and_platform(
        self, machine: Machine, tmp_path: Path
    ) -> None:
        machine.use(Flavor.TENSORRT)
        path = engines.frames(tmp_path / "a.engine", flavor=Flavor.TENSORRT)
        runs(path)
        change(path, gpus=("NVIDIA GeForce RTX 4080",))
        fails_to_load(
            path,
            "built on NVIDIA GeForce RTX 4080, and the GPU is .* 4090: build it on this machine",
        )
        change(path, gpus=(GPU.name,), platform="windows amd64")
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


class TestStripped:
    @pytest.fixture
    def stripped(self, machine: Machine, tmp_path: Path) -> Path:
        return engines.frames(tmp_path / "a.engine", stripped=True)

    def test_takes_its_weights_from_the_onnx_file(self, stripped: Path) -> None:
        check_sizes(stripped, read_manifest(stripped))
        check_hashes(stripped, read_manifest(stripped))
        runs(stripped)

    def test_without_it(self, stripped: Path) -> None:
        stripped.with_suffix(".onnx").unlink()
        fails_to_load(
            stripped, r"a\.onnx: missing; a\.engine was built without weights", ArtifactError
        )

    def test_another_file(self, stripped: Path) -> None:
        artifacts.frames(stripped.with_suffix(".onnx"), batch=1)
        fails_to_load(stripped, "not the file that a.engine was built from", ArtifactError)

    def test_a_damaged_file(self, stripped: Path) -> None:
        graph = stripped.with_suffix(".onnx")
        content = graph.read_bytes()
        weight = np.float32(2 / 8).tobytes()
        assert content.count(weight) == 1
        graph.write_bytes(content.replace(weight, np.float32(3 / 8).tobytes()))
        fails_to_load(stripped, r"a\.onnx: damaged", ArtifactError)

    def test_a_name_outside_the_folder(self, stripped: Path) -> None:
        manifest = read_manifest(stripped)
        graph = dataclasses.replace(manifest.graph, name="../a.onnx")
        engines.write_manifest(stripped, dataclasses.replace(manifest, graph=graph))
        fails_to_load(stripped, "not a plain file name", ArtifactError)

    def test_weights_that_the_parser_does_not_place(self, stripped: Path) -> None:
        def rename(graph: onnx.GraphProto) -> None:
            graph.initializer[0].name = graph.node[1].input[1] = "others"

        self.change_graph(stripped, rename)
        fails_to_load(
            stripped, r"cannot be loaded into the engine: .* not in the engine \(node head/MatMul\)"
        )

    def test_weights_from_a_file_that_no_manifest_names(
        self, machine: Machine, stripped: Path
    ) -> None:
        """TensorRT would open it, and a pipe would never end."""

        def move(graph: onnx.GraphProto) -> None:
            weight = graph.initializer[0]
            weight.ClearField("raw_data")
            weight.data_location = onnx.TensorProto.EXTERNAL
            weight.external_data.add(key="location", value="pipe")

        self.change_graph(stripped, move)
        fails_to_load(stripped, r"a\.onnx: its graph reads weights from 'pipe'", ArtifactError)

    def change_graph(self, stripped: Path, change: Callable[[onnx.GraphProto], object]) -> None:
        """Let both manifests describe a changed graph."""
        graph, manifest = stripped.with_suffix(".onnx"), read_manifest(stripped)
        model = onnx.load(graph)
        change(model.graph)
        source = read_manifest(artifacts.write(graph, model, read_manifest(graph))).graph
        found = dataclasses.replace(manifest.graph, size=source.size, sha256=source.sha256)
        engines.write_manifest(stripped, dataclasses.replace(manifest, graph=found))

    def test_weights_that_are_too_few(self, machine: Machine, stripped: Path) -> None:
        machine.trt.fails = {"refit"}
        fails_to_load(
            stripped, "the engine cannot be refitted with its weights: weights are missing"
        )


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


def test_messages_go_to_the_build_of_their_thread(machine: Machine) -> None:
    log = log_of(machine.trt)
    received: list[str] = []

    def elsewhere() -> str:
        log.log(fake_tensorrt.Severity.ERROR, "of an engine")
        with log.forwarding_to(lambda _, message: received.append(f"there: {message}")):
            log.log(fake_tensorrt.Severity.INFO, "of a build")
        log.log(fake_tensorrt.Severity.INFO, "after that build")
        return str(log.reason())

    with (
        ThreadPoolExecutor(1) as pool,
        log.forwarding_to(lambda _, message: received.append(f"outside: {message}")),
    ):
        with log.forwarding_to(lambda severity, _: received.append(f"inside: {severity}")):
            assert pool.submit(elsewhere).result() == "of an engine"
            log.log(fake_tensorrt.Severity.ERROR, "of this build")
        log.log(fake_tensorrt.Severity.INFO, "and later")
    log.log(fake_tensorrt.Severity.INFO, "of no build")
    assert received == ["there: of a build", "inside: ERROR", "outside: and later"]
    assert log.reason() == "of this build"


def test_real_logger_and_runtime_without_a_driver(engine: Path) -> None:
    """The package itself, as far as it goes here: its logger, and a refusal as one line."""
    trt = pytest.importorskip("tensorrt_rtx")
    log = log_of(trt)
    assert log_of(trt) is log
    with pytest.raises(
        BackendError, match=r"a\.engine: (cannot run on this machine \(malformed|TensorRT)"
    ):
        LoadedEngine(trt, engine, read_manifest(engine), log)
    log.clear()
    received: list[tuple[str, str]] = []
    with log.forwarding_to(lambda *message: received.append(message)):
        assert trt.Runtime(log).deserialize_cuda_engine(os.urandom(1000)) is None
    assert any(severity == "ERROR" and "magicTag" in text for severity, text in received)
    count = len(received)
    assert trt.Runtime(log).deserialize_cuda_engine(os.urandom(1000)) is None
    assert len(received) == count
    assert "magicTag" in log.reason()
    assert "\n" not in log.reason()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(log.reason).result() == "no reason given"
    log.clear()
    assert log.reason() == "no reason given"
