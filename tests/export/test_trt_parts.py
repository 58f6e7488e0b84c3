"""The parts of `dsunet-export trt`: GPUs, flavours, TensorRT's log and its progress.

Classic TensorRT needs a GPU even to be created, so TensorRT for RTX stands in for it here: that
shows which calls are made and in which order, not what classic TensorRT does with them.
"""

from __future__ import annotations

import enum
import io
import os
import re
import signal
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any

import pytest

from dsunet_export.errors import ExportError
from dsunet_export.tensorrt.configuration import EngineOptions, configure, load_timing_cache
from dsunet_export.tensorrt.flavors import ClassicKit, RtxKit, Target
from dsunet_export.tensorrt.gpus import GPUS, describe_gpus, find_gpu
from dsunet_export.tensorrt.log import BuildLog, logger_of
from dsunet_export.tensorrt.monitor import BuildProgress, monitor_of, run_stoppable
from dsunet_export.tensorrt.profiles import Ranges, make_profiles, parse_batch, parse_size
from dsunet_export.tensorrt.targets import (
    Choice,
    choose,
    local_gpus,
    parse_compute_capability,
    parse_wanted,
)
from dsunet_runtime import read_manifest
from dsunet_runtime.artifact import check_hashes
from dsunet_runtime.flavor import Flavor
from dsunet_runtime.manifest import Profile
from tests.export.engines import H100, RTX_4090, graph, pretend_gpus, trt
from tests.runtime import artifacts


class TestGpus:
    @pytest.mark.parametrize(
        ("text", "name", "compute_capability"),
        [
            ("rtx4090", "GeForce RTX 4090", "8.9"),
            ("RTX 4090", "GeForce RTX 4090", "8.9"),
            ("rtx-4090", "GeForce RTX 4090", "8.9"),
            ("geforce rtx 4090", "GeForce RTX 4090", "8.9"),
            ("4090", "GeForce RTX 4090", "8.9"),
            ("NVIDIA GeForce RTX 3080 Ti Laptop GPU", "GeForce RTX 3080 Ti", "8.6"),
            ("rtx4070tisuper", "GeForce RTX 4070 Ti", "8.9"),
            ("rtx2080ti", "GeForce RTX 2080 Ti", "7.5"),
            ("Quadro RTX 6000", "Quadro RTX 6000", "7.5"),
            ("rtx a6000", "RTX A6000", "8.6"),
            ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada", "8.9"),
            ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "RTX PRO 6000 Blackwell", "12.0"),
            ("NVIDIA RTX PRO 4000 Blackwell SFF Edition", "RTX PRO 4000 Blackwell", "12.0"),
            ("NVIDIA RTX PRO 500 Blackwell Generation Laptop GPU", "RTX PRO 500 Blackwell", "12.0"),
            ("NVIDIA RTX 4000 SFF Ada Generation", "RTX 4000 Ada", "8.9"),
            ("NVIDIA GeForce RTX 5090 D v2", "GeForce RTX 5090", "12.0"),
            ("NVIDIA GeForce RTX 2060 with Max-Q Design", "GeForce RTX 2060", "7.5"),
            ("NVIDIA GeForce RTX 3050 6GB Laptop GPU", "GeForce RTX 3050", "8.6"),
            ("NVIDIA GeForce RTX 3050 A Laptop GPU", "GeForce RTX 3050 A", "8.9"),
            ("NVIDIA GH200 144G HBM3e", "GH200", "9.0"),
            ("NVIDIA A100-SXM4-40GB", "A100", "8.0"),
            ("NVIDIA B300 SXM6 AC", "B300", "10.3"),
            ("NVIDIA H100 80GB HBM3", "H100", "9.0"),
            ("NVIDIA L4", "L4", "8.9"),
            ("Tesla T4", "T4", "7.5"),
            ("jetson-orin-nano", "Jetson Orin Nano", "8.7"),
            ("thor", "Jetson AGX Thor", "11.0"),
            ("Jetson Thor", "Jetson AGX Thor", "11.0"),
            ("orin", "Jetson AGX Orin", "8.7"),
        ],
    )
    def test_spellings(self, text: str, name: str, compute_capability: str) -> None:
        gpu = find_gpu(text)
        assert (gpu.name, gpu.compute_capability) == (name, compute_capability)

    def test_every_name_is_found_and_printed(self) -> None:
        table = describe_gpus()
        for gpu in GPUS:
            assert find_gpu(gpu.name) == gpu
            assert gpu.name in table

    @pytest.mark.parametrize("text", ["rtx 6000", "rtx 4000"])
    def test_names_that_stand_for_several(self, text: str) -> None:
        with pytest.raises(ExportError, match=r"did you mean .*[46]000"):
            find_gpu(text)

    @pytest.mark.parametrize("text", ["", "?", "rx7900"])
    def test_unknown(self, text: str) -> None:
        with pytest.raises(ExportError, match=r"no GPU .* is known: .*`--gpu list`"):
            find_gpu(text)


class TestWanted:
    @pytest.mark.parametrize("text", ["8.9", "89", "sm89", "sm_89", "SM_89", "compute_89", " 8.9 "])
    def test_compute_capability(self, text: str) -> None:
        assert parse_compute_capability(text) == "8.9"
        assert parse_compute_capability(text.replace("8", "12").replace("9", "0")) == "12.0"

    @pytest.mark.parametrize("text", ["", "9", "8.", "8.99", "1200", "12", "4090", "ada", "-8.9"])
    def test_no_compute_capability(self, text: str) -> None:
        with pytest.raises(ExportError, match="is no compute capability"):
            parse_compute_capability(text)

    def test_both_and_repeated(self) -> None:
        wanted = parse_wanted(["rtx5090", "rtx5080", "rtx5090", "rtx3090"], ["8.6", "sm_100"])
        assert wanted.compute_capabilities == ("8.6", "10.0", "12.0")
        assert [gpu.name for gpu in wanted.gpus] == [
            "GeForce RTX 5090",
            "GeForce RTX 5080",
            "GeForce RTX 3090",
        ]


class TestProfiles:
    def test_defaults_of_frames(self, tmp_path: Path) -> None:
        manifest = read_manifest(artifacts.frames(tmp_path / "x.onnx"))
        shapes = (1, 64, 64, 3), (1, 720, 1280, 3), (1, 1920, 1920, 3)
        assert make_profiles(manifest, Ranges()) == (Profile("image", *shapes),)

    def test_tensors(self, tmp_path: Path) -> None:
        manifest = read_manifest(artifacts.tensors(tmp_path / "x.onnx"))
        hiera, dino = make_profiles(manifest, Ranges(parse_batch("1:2:4")))
        assert hiera == Profile("hiera", *((n, 3, 16, 16) for n in (1, 2, 4)))
        assert dino == Profile("dino", *((n, 3, 14, 14) for n in (1, 2, 4)))
        with pytest.raises(ExportError, match="--size is for graphs that take frames"):
            make_profiles(manifest, Ranges(size=parse_size("16x16")))

    def test_one_side_fixed(self, tmp_path: Path) -> None:
        manifest = read_manifest(artifacts.frames(tmp_path / "x.onnx", height=30))
        (profile,) = make_profiles(manifest, Ranges(size=parse_size("30x40:30x50:30x60")))
        assert (profile.minimum, profile.maximum) == ((1, 30, 40, 3), (1, 30, 60, 3))
        with pytest.raises(ExportError, match="fixed to 30 on axis H"):
            make_profiles(manifest, Ranges(size=parse_size("29x40:30x50:30x60")))


class TestFlavor:
    """Which one `auto` takes.  Both are the same package here."""

    @pytest.fixture(autouse=True)
    def both(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stand_in(monkeypatch)

    def test_rtx_where_it_can(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pretend_gpus(monkeypatch, RTX_4090)
        choice = choose(None, parse_wanted([], []))
        assert isinstance(choice.kit, RtxKit)
        assert choice.target == Target(("8.9",), ("NVIDIA GeForce RTX 4090",))
        pretend_gpus(monkeypatch)
        choice = choose(None, parse_wanted(["rtx3090"], []))
        assert isinstance(choice.kit, RtxKit)
        assert choice.target == Target(("8.6",), ("GeForce RTX 3090",))

    def test_classic_where_rtx_cannot(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pretend_gpus(monkeypatch, H100)
        for wanted in (parse_wanted([], []), parse_wanted(["h100"], []), parse_wanted([], ["90"])):
            choice = choose(None, wanted)
            assert isinstance(choice.kit, ClassicKit)
            assert choice.target == Target(("9.0",), ("NVIDIA H100 80GB HBM3",))
            assert "does not build for 9.0" in choice.reason

    def test_neither(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pretend_gpus(monkeypatch)
        with pytest.raises(
            ExportError, match=r"does not build for 9\.0.*none here: run this where"
        ):
            choose(None, parse_wanted(["h100"], []))

    def test_as_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pretend_gpus(monkeypatch, RTX_4090)
        choice = choose(Flavor.TENSORRT, parse_wanted(["rtx4090"], ["8.9"]))
        assert isinstance(choice.kit, ClassicKit)
        assert choice.reason == "as asked"

    @pytest.mark.parametrize(
        ("gpu", "number", "named"),
        [
            ("rtx5090", "8.9", "not for 12.0: "),
            ("rtx4080", "8.9", "not for GeForce RTX 4080: "),
            ("rtx4090", "8.6", "not for 8.6: "),
        ],
    )
    def test_classic_for_another_gpu(
        self, monkeypatch: pytest.MonkeyPatch, gpu: str, number: str, named: str
    ) -> None:
        pretend_gpus(monkeypatch, RTX_4090)
        with pytest.raises(ExportError, match=r"NVIDIA GeForce RTX 4090 \(8.9\), " + named):
            choose(Flavor.TENSORRT, parse_wanted([gpu], [number]))

    def test_classic_without_a_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pretend_gpus(monkeypatch)
        with pytest.raises(ExportError, match="there is none here: run this where that GPU is, or"):
            choose(Flavor.TENSORRT, parse_wanted(["rtx4090"], []))

    def test_libraries_that_do_not_load(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def load(flavor: Flavor) -> Any:
            raise ImportError("libnvinfer.so.10: cannot open shared object file")

        monkeypatch.setattr(Flavor, "load", load)
        with pytest.raises(ExportError, match=r"installed but does not load \(libnvinfer"):
            choose(Flavor.TENSORRT, parse_wanted([], []))


class TestClassic:
    @pytest.fixture(autouse=True)
    def here(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stand_in(monkeypatch)
        pretend_gpus(monkeypatch, RTX_4090)

    @pytest.fixture
    def small(self, tmp_path: Path) -> Path:
        return graph(tmp_path / "small.onnx", batch=1, side=32)

    def test_engine(self, small: Path, tmp_path: Path) -> None:
        output = tmp_path / "x.engine"
        result = trt(small, "--flavor", "tensorrt", "-o", output)
        assert result.exit_code == 0, result.output
        assert result.stderr.splitlines()[0].endswith(" (as asked), for 8.9")
        manifest = read_manifest(output)
        check_hashes(output, manifest)
        assert manifest.engine is not None
        assert manifest.engine.flavor is Flavor.TENSORRT
        assert manifest.engine.gpus == ("NVIDIA GeForce RTX 4090",)
        assert "tensorrt" in manifest.built_with

    @pytest.mark.filterwarnings("ignore:.*no-ops in TensorRT-RTX:DeprecationWarning")
    def test_timing_cache(self, small: Path, tmp_path: Path) -> None:
        cache = tmp_path / "new" / "timing.cache"
        arguments = (small, "--flavor", "tensorrt", "-o", tmp_path / "x.engine")
        for _ in range(2):  # written, then read and written again
            result = trt(*arguments, "--timing-cache", cache)
            assert result.exit_code == 0, result.output
            assert cache.stat().st_size > 0
            assert [path.name for path in cache.parent.iterdir()] == ["timing.cache"]
        result = trt(*arguments, "--timing-cache", tmp_path)
        assert result.exit_code == 1
        assert "Is a directory: name another --timing-cache" in result.stderr

    @pytest.mark.parametrize(("created", "taken"), [(None, True), ("a cache", False)])
    def test_timing_cache_of_another_gpu(
        self, tmp_path: Path, created: object, taken: bool
    ) -> None:
        """What classic TensorRT says of one that it cannot use; RTX takes anything."""
        file = tmp_path / "timing.cache"
        file.write_bytes(b"of another GPU")

        class Config:
            def create_timing_cache(self, content: bytes) -> object:
                assert content == b"of another GPU"
                return created

            def set_timing_cache(self, cache: object, ignore_mismatch: bool) -> bool:
                assert not ignore_mismatch
                return taken

        with pytest.raises(ExportError, match=r"no timing cache of this TensorRT and .*: delete"):
            load_timing_cache(Config(), file)

    @pytest.mark.parametrize(
        ("members", "flags"),
        [({"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1}, 2), ({"UNUSED": 0}, 0)],
        ids=["10", "11"],
    )
    def test_strongly_typed(self, members: dict[str, int], flags: int) -> None:
        """TensorRT 10 has to be asked for it; 11 knows no other, and no longer has the flag."""

        class Builder:
            def create_network(self, flags: int) -> int:
                return flags

        creation_flags = enum.IntEnum("NetworkDefinitionCreationFlag", members)  # type: ignore[misc]
        trt = types.SimpleNamespace(NetworkDefinitionCreationFlag=creation_flags)
        assert ClassicKit(trt).create_network(Builder()) == flags


class TestStrippedWeights:
    def test_flags(self) -> None:
        """Refitted from the very file: identical weights, which leaves TensorRT all its fusions."""
        rtx = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
        choice = Choice(RtxKit(rtx), Target(("8.9",), ()), "")
        builder = rtx.Builder(logger_of(Flavor.RTX))
        for strip in (False, True):
            config = configure(builder, choice, EngineOptions(strip_weights=strip), ())
            assert config.get_flag(rtx.BuilderFlag.STRIP_PLAN) == strip
            assert config.get_flag(rtx.BuilderFlag.REFIT_IDENTICAL) == strip
            assert not config.get_flag(rtx.BuilderFlag.TF32)

    def test_driver_that_is_not_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """TensorRT for RTX fails, and its reason comes with a remedy."""
        pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
        if local_gpus():
            pytest.skip("there is a driver here")
        pretend_gpus(monkeypatch, RTX_4090)
        small = graph(tmp_path / "small.onnx", batch=1, side=32)
        result = trt(small, "--strip-weights", "-o", tmp_path / "x.engine")
        assert (result.exit_code, result.stdout) == (1, "")
        assert "CUDA_SUCCESS) failed: see with `dsunet-export doctor`" in result.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["small.onnx"]

    @pytest.mark.gpu
    def test_engine(self, tmp_path: Path) -> None:
        """Its file is smaller by most of the weights; TensorRT for RTX keeps the small ones."""
        pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
        if not local_gpus():
            pytest.skip("needs an NVIDIA GPU and its driver")
        wide = graph(tmp_path / "wide.onnx", batch=1, side=32, channels=1024)
        for name, options in (("whole", ()), ("stripped", ("--strip-weights",))):
            output = tmp_path / f"{name}.engine"
            result = trt(wide, "--gpu", "rtx4090", "--flavor", "rtx", "-o", output, *options)
            assert result.exit_code == 0, result.output
        assert "keep it beside the engine" in result.stdout
        whole, stripped = (read_manifest(tmp_path / f"{n}.engine") for n in ("whole", "stripped"))
        assert whole.engine is not None
        assert stripped.engine is not None
        assert stripped.engine.weights_stripped
        check_hashes(tmp_path / "stripped.engine", stripped)
        saved = whole.engine.file.size - stripped.engine.file.size
        assert saved > 0.8 * whole.engine.proof.weight_bytes


class TestLog:
    def test_memory_and_layers(self) -> None:
        log = BuildLog(io.StringIO())
        for line in (
            "Total Host Persistent Memory: 80 bytes",
            "Total Activation Memory: 223659520 bytes",
            "Total Activation Memory: 1024 bytes",
            "Total Weights Memory: 7790080",
            "Total Weights Memory: 3 MiB",
        ):
            log.add("INFO", line)
        log.add("VERBOSE", "Engine Layer Information:\nLayer(Myelin): a, Tactic: 0\nLayer(B): b\n")
        assert (log.activation_bytes, log.weight_bytes, log.layers) == (223659520, 7790080, 2)
        assert log.errors == []

    def test_what_is_printed(self) -> None:
        printed = []
        for verbosity in range(3):
            stream = io.StringIO()
            log = BuildLog(stream, verbosity)
            for severity in ("VERBOSE", "INFO", "ERROR"):
                log.add(severity, "said")
            printed.append(stream.getvalue().split())
        assert printed[0] == []
        assert printed[1] == ["[INFO]", "said", "[ERROR]", "said"]
        assert printed[2] == ["[VERBOSE]", "said", *printed[1]]

    @pytest.mark.parametrize(
        ("message", "reason"),
        [
            (
                "IBuilder::buildSerializedNetwork: Error Code 1: Myelin ([pass.cpp:337: "
                "check_turing_op_compatibility] Cannot compile operation 'MatMul_1_U196' for "
                "Turing (SM75): FP32 GEMM is not supported. In compileGraph at "
                "/_src/optimizer/myelin/codeGenerator.cpp:2012)",
                r"Cannot compile operation 'MatMul_1_U196' for Turing \(SM75\): FP32 GEMM is not "
                r"supported \(node MatMul_1\): TensorRT for RTX multiplies no float32 .*",
            ),
            (
                "IBuilder::buildSerializedNetwork: Error Code 10: Internal Error (Could not find "
                "any implementation for node {ForeignNode[blocks.0/MatMul...blocks.1/Add]}. In "
                "computeCosts at /_src/optimizer/common/tactic/optimizer.cpp:4115)",
                r"Could not find any .* \(node blocks.0/MatMul\): -v prints TensorRT's log",
            ),
            (
                "IBuilder::buildSerializedNetwork: Error Code 1: Myelin ([a.cpp:1: f] Could not "
                "infer output types for operation: 297: deconv: locks.1/Add-(bf16[1]) | "
                "blocks.0/MatMul-(bf16[1,384,3,3][]so[], mem_prop=0)" + " and so on" * 99,
                r"Could not infer .{200,300}… \(node locks.1/Add\): .* keep it in float32 .*",
            ),
            ("something\nnew", "something new: -v prints TensorRT's log"),
        ],
    )
    def test_reason(self, message: str, reason: str) -> None:
        log = BuildLog(io.StringIO())
        log.add("ERROR", message)
        log.add("ERROR", "what follows from it")
        nodes = ["MatMul", "MatMul_1", "blocks.0/MatMul", "locks.1/Add"]
        assert re.fullmatch(reason, log.reason(nodes))

    def test_no_reason(self) -> None:
        assert "-v prints its log" in BuildLog(io.StringIO()).reason()


class TestProgress:
    def test_nested_phases(self) -> None:
        progress = BuildProgress()
        assert progress.state() == (0, "Reading the graph")
        progress.start("Building", 4)
        assert progress.step("Building", 0)
        progress.start("Timing", 2)
        progress.step("Timing", 0)
        fraction, phase = progress.state()
        assert (fraction, phase) == (pytest.approx((1 + 1 / 2) / 4), "Timing")
        progress.finish("Timing")
        progress.step("Building", 1)
        assert progress.state() == (0.5, "Building")
        progress.cancelled.set()
        assert not progress.step("Building", 2)

    def test_drawn(self) -> None:
        progress = BuildProgress()

        def work() -> int:
            progress.start("Timing tactics", 2)
            progress.step("Timing tactics", 0)
            time.sleep(0.3)
            return 7

        terminal = Terminal()
        assert run_stoppable(work, progress, terminal, draw=True) == 7
        assert "█" * 15 + "·" * 15 + " Timing tactics  0 s" in terminal.getvalue()
        assert terminal.getvalue().endswith("\r\x1b[K")
        for stream, draw in ((Terminal(), False), (io.StringIO(), True)):
            run_stoppable(lambda: 7, progress, stream, draw=draw)
            assert "Timing" not in stream.getvalue()

    def test_failure(self) -> None:
        def work() -> None:
            raise ExportError("said in the thread")

        with pytest.raises(ExportError, match="said in the thread"):
            run_stoppable(work, BuildProgress(), io.StringIO(), draw=True)

    def test_interruption(self) -> None:
        """The build hears of it, and has ended when the interruption goes on."""
        progress = BuildProgress()
        ended = threading.Event()

        def work() -> None:
            os.kill(os.getpid(), signal.SIGINT)
            progress.cancelled.wait(10)
            time.sleep(0.2)
            ended.set()

        stream = io.StringIO()
        with pytest.raises(KeyboardInterrupt):
            run_stoppable(work, progress, stream, draw=True)
        assert ended.is_set()
        assert stream.getvalue().startswith("stopping at TensorRT's next step")

    def test_second_interruption(self) -> None:
        """It does not wait for the build."""
        progress = BuildProgress()
        leave = threading.Event()

        def work() -> None:
            os.kill(os.getpid(), signal.SIGINT)
            progress.cancelled.wait(10)
            os.kill(os.getpid(), signal.SIGINT)
            leave.wait(10)

        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            run_stoppable(work, progress, io.StringIO(), draw=True)
        assert time.monotonic() - began < 5
        leave.set()

    def test_of_tensorrt(self) -> None:
        """Its monitor tells of every phase, and one that is cancelled builds nothing."""
        trt = pytest.importorskip("tensorrt_rtx")

        class Recorder(BuildProgress):
            def __init__(self) -> None:
                super().__init__()
                self.phases: list[str] = []
                self.fractions: list[float] = []

            def start(self, name: str, steps: int) -> None:
                super().start(name, steps)
                self.phases.append(name)

            def step(self, name: str, index: int) -> bool:
                go_on = super().step(name, index)
                self.fractions.append(self.state()[0])
                return go_on

        for cancelled in (False, True):
            builder = trt.Builder(logger_of(Flavor.RTX))
            network = RtxKit(trt).create_network(builder)
            image = network.add_input("image", trt.float16, (1, 8))
            network.mark_output(
                network.add_activation(image, trt.ActivationType.RELU).get_output(0)
            )
            config = builder.create_builder_config()
            RtxKit(trt).aim(config, Target(("8.9",), ()))
            progress = Recorder()
            if cancelled:
                progress.cancelled.set()
            monitor = monitor_of(trt, progress)
            config.progress_monitor = monitor
            serialized = builder.build_serialized_network(network, config)
            assert (serialized is None) == cancelled
            assert progress.phases[0] == "Building engine"
            assert progress.state()[1] == "Reading the graph"  # every phase has ended
            assert all(0 <= fraction <= 1 for fraction in progress.fractions)
            if not cancelled:
                assert progress.fractions == sorted(progress.fractions)
                assert progress.fractions[-1] > 0.8


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let TensorRT for RTX be both flavours."""
    rtx = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    monkeypatch.setitem(sys.modules, "tensorrt", rtx)
