"""`dsunet-export trt` with TensorRT for RTX, which builds real engines without a GPU."""

from __future__ import annotations

import importlib.metadata
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dsunet_export.tensorrt.builder import build_engine
from dsunet_export.tensorrt.configuration import EngineOptions
from dsunet_export.tensorrt.profiles import Ranges
from dsunet_export.tensorrt.targets import choose_target
from dsunet_runtime import read_manifest
from dsunet_runtime.artifact.file_digest import digest
from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.artifact.integrity import check_hashes
from dsunet_runtime.artifact.manifest import OptimizationProfile
from tests.export.engines import (
    ADA,
    RTX_4090,
    SMALL,
    WEIGHTS,
    built,
    fails,
    graph,
    pretend_gpu,
    trt,
)

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
pytestmark = pytest.mark.usefixtures("no_gpu")


class TestEngine:
    def test_manifest(self, float16: Path, tmp_path: Path) -> None:
        output = tmp_path / "new" / "small.engine"
        manifest, engine = built(float16, *ADA, *SMALL, output=output)
        assert sorted(p.name for p in output.parent.iterdir()) == [
            "small.engine",
            "small.engine.json",
        ]
        check_hashes(output, manifest)
        source = read_manifest(float16)
        assert (manifest.graph, manifest.precision) == (source.graph, source.precision)
        assert (manifest.inputs, manifest.outputs) == (source.inputs, source.outputs)
        assert manifest.profiles == (
            OptimizationProfile("image", (1, 32, 32, 3), (1, 64, 48, 3), (1, 96, 96, 3)),
        )
        version = importlib.metadata.version("tensorrt-rtx")
        assert (engine.flavor, engine.tensorrt_version) == (Flavor.RTX, version)
        assert manifest.built_with["tensorrt_rtx"] == version
        assert engine.platform == f"{sys.platform} {subprocess.getoutput('uname -m')}"
        assert engine.compute_capabilities == ("8.9",)
        assert engine.gpus == ("GeForce RTX 4090",)
        assert engine.weights_stripped is False
        assert engine.optimization_level is None
        # What TensorRT's log says: the least that the frame itself needs, and the weights.
        assert engine.activation_bytes is not None
        assert engine.activation_bytes > 96 * 96 * 3
        assert engine.weight_bytes is not None
        assert engine.weight_bytes >= 2 * WEIGHTS

    def test_proof(self, float16: Path, float32: Path, tmp_path: Path) -> None:
        """The graph computes in four layers: convolution, ReLU, product, maximum."""
        _, engine = built(float16, *ADA, *SMALL, output=tmp_path / "a.engine")
        report = engine.precision_report
        assert (report.layers, report.layers_reduced) == (4, 4)
        assert report.weight_bytes == report.weight_bytes_reduced == 2 * WEIGHTS
        _, engine = built(
            float32, *ADA, *SMALL, "--precision", "fp32", output=tmp_path / "b.engine"
        )
        report = engine.precision_report
        assert (report.layers, report.layers_reduced) == (4, 0)
        assert (report.weight_bytes, report.weight_bytes_reduced) == (4 * WEIGHTS, 0)

    def test_some_kept_in_float32(self, tmp_path: Path) -> None:
        kept = graph(tmp_path / "kept.onnx", kept=1)
        _, engine = built(kept, *ADA, *SMALL, output=tmp_path / "kept.engine")
        report = engine.precision_report
        assert (report.layers, report.layers_reduced) == (5, 4)
        assert report.weight_bytes - report.weight_bytes_reduced == 4 * 64

    def test_more_in_float32_than_allowed(self, tmp_path: Path, older_engine: Path) -> None:
        kept = graph(tmp_path / "kept.onnx", kept=64)
        fails(
            kept,
            *ADA,
            "-o",
            older_engine,
            match=r"only 41.8% of .* are float16 .* kept.weight \(0.02",
        )

    def test_several_targets(self, float16: Path, tmp_path: Path) -> None:
        output = tmp_path / "x.engine"
        numbers = ("--compute-capability", "sm_120", "--compute-capability", "8.9")
        _, engine = built(float16, "--gpu", "RTX 3090", *ADA, *numbers, *SMALL, output=output)
        assert engine.compute_capabilities == ("8.6", "8.9", "12.0")
        assert engine.gpus == ("GeForce RTX 3090", "GeForce RTX 4090")

    def test_turing(self, float16: Path, tmp_path: Path) -> None:
        output = tmp_path / "x.engine"
        _, engine = built(float16, "--gpu", "rtx2080ti", *SMALL, output=output)
        assert engine.compute_capabilities == ("7.5",)

    def test_the_gpu_here(
        self, float16: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pretend_gpu(monkeypatch, RTX_4090)
        _, engine = built(float16, *SMALL, output=tmp_path / "x.engine")
        assert engine.compute_capabilities == ("8.9",)
        assert engine.gpus == ("NVIDIA GeForce RTX 4090",)

    def test_fixed_graph(self, tmp_path: Path) -> None:
        fixed = graph(tmp_path / "fixed.onnx", batch=2, side=48)
        output = tmp_path / "x.engine"
        manifest, _ = built(fixed, *ADA, output=output)
        shape = (2, 48, 48, 3)
        assert manifest.profiles == (OptimizationProfile("image", shape, shape, shape),)
        again, _ = built(fixed, *ADA, "--batch", "2", "--size", "48x48", output=output)
        assert again.profiles == manifest.profiles

    def test_one_size_of_a_graph_that_takes_any(self, float16: Path, tmp_path: Path) -> None:
        """It is a range, and that is said: TensorRT for RTX 1.7.1 fails on `nano` otherwise."""
        output = tmp_path / "x.engine"
        result = trt(float16, *ADA, "--size", "48x1:64x1:64x1", "-o", output)
        (profile,) = read_manifest(output).profiles
        assert profile.minimum == (1, 48, 1, 3)
        assert profile.optimum == (1, 64, 1, 3)
        assert profile.maximum == (1, 64, 2, 3)
        said = result.stdout.splitlines()[-1]
        assert said.startswith(
            "accepts frames from 48x1 to 64x2, because TensorRT for RTX cannot build"
        )
        assert said.endswith("export the graph with `--size 64x1`")

    def test_options_reach_tensorrt(self, float16: Path, tmp_path: Path) -> None:
        output = tmp_path / "x.engine"
        options = ("--batch", "1:2:4", "--opt-level", "1", "--workspace", "2048")
        manifest, engine = built(float16, *ADA, *SMALL, *options, output=output)
        assert manifest.profiles[0].maximum[0] == 4
        assert engine.optimization_level == 1
        fails(
            float16, *ADA, "--workspace", "1", "-o", tmp_path / "y.engine", match="--workspace, or"
        )

    def test_memory_grows_with_the_maximum(self, float16: Path, tmp_path: Path) -> None:
        output = tmp_path / "x.engine"
        _, small = built(float16, *ADA, "--size", "32x32:64x64:128x128", output=output)
        _, large = built(float16, *ADA, "--size", "32x32:64x64:512x512", output=output)
        assert small.activation_bytes is not None
        assert large.activation_bytes is not None
        assert large.activation_bytes > 4 * small.activation_bytes

    def test_from_python(self, float16: Path, tmp_path: Path) -> None:
        options = EngineOptions(ranges=Ranges(size=((48, 48),) * 3))
        target = choose_target(["rtx4090"], flavor=Flavor.RTX, options=options)
        steps: list[str] = []
        output = tmp_path / "x.engine"
        manifest = build_engine(
            float16, output, target, options, lambda step, seconds: steps.append(step)
        )
        assert manifest == read_manifest(output)
        assert steps == ["build"]

    def test_graph_that_was_renamed(self, float16: Path, tmp_path: Path) -> None:
        """The engine's manifest names the file that is there."""
        renamed = tmp_path / "renamed.onnx"
        renamed.write_bytes(float16.read_bytes())
        manifest, _ = built(renamed, *ADA, *SMALL, output=tmp_path / "x.engine")
        assert manifest.graph == digest(renamed, manifest.graph.size)

    def test_is_reported(self, float16: Path, tmp_path: Path) -> None:
        output = tmp_path / "x.engine"
        result = trt(float16, *ADA, *SMALL, "-o", output)
        assert re.fullmatch(
            r"\S+x.engine \d\.\d MB, activations \d+\.\d MB, weights \d\.\d MB; 100\.0% of the "
            r"weights' bytes and 4 of 4 layers in float16\n",
            result.stdout,
        )
        flavor, build = result.stderr.splitlines()
        assert re.fullmatch(r"TensorRT for RTX [\d.]+ \(.*installed.*\), for 8\.9", flavor)
        assert re.fullmatch(r"build: \d+\.\d s", build)

    def test_log(self, float16: Path, tmp_path: Path) -> None:
        arguments = (float16, *ADA, *SMALL, "-o", tmp_path / "x.engine")
        some, everything = trt(*arguments, "-v").stderr, trt(*arguments, "-vv").stderr
        assert "[INFO] Total Activation Memory" in some
        assert "[VERBOSE]" not in some
        assert "[VERBOSE]" in everything


class TestOfTheNetwork:
    """`nano`, as users export it."""

    def test_engine(self, frames: Path, tmp_path: Path) -> None:
        """From the float32 graph, converted on the way."""
        output = tmp_path / "nano.engine"
        manifest, engine = built(frames, *ADA, "--gpu", "rtx5090", output=output)
        assert engine.compute_capabilities == ("8.9", "12.0")
        assert manifest.precision.compute == "float16"
        # The user's file, not what it was converted to on the way.
        assert manifest.graph == digest(frames, manifest.graph.size)
        assert manifest.graph == read_manifest(frames).graph
        assert manifest.profiles[0].maximum == (1, 1920, 1920, 3)
        # nano's 1.9 million parameters; batch norm and layer scale are folded away.
        assert engine.precision_report.weight_bytes == pytest.approx(2 * 1.9e6, rel=0.05)
        assert (
            engine.precision_report.weight_bytes_reduced
            > 0.95 * engine.precision_report.weight_bytes
        )
        assert 0.8 < engine.precision_report.layers_reduced / engine.precision_report.layers < 1
        assert engine.file.size > engine.precision_report.weight_bytes
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "nano.engine",
            "nano.engine.json",
        ]

    def test_one_size(self, frames: Path, tmp_path: Path) -> None:
        output = tmp_path / "nano.engine"
        result = trt(frames, *ADA, "--size", "720x1280", "-o", output)
        manifest = read_manifest(output)
        # It was verified after its conversion.
        count = len(manifest.verification)
        assert count > len(read_manifest(frames).verification)
        assert result.stdout.startswith(f"{count} comparisons, the worst: ")
        assert manifest.profiles[0].minimum == (1, 719, 1279, 3)
        assert manifest.profiles[0].maximum == (1, 720, 1280, 3)

    @pytest.mark.parametrize(
        ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
    )
    def test_interruption(self, frames: Path, older_engine: Path, number: int, code: int) -> None:
        """While it builds, which takes seconds."""
        program = "from dsunet_export.cli import app; app(prog_name='dsunet-export')"
        arguments = ["trt", str(frames), *ADA, "--precision", "fp32", "-v", "-o", str(older_engine)]
        with subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            assert process.stderr is not None
            while "Compiler backend is used" not in process.stderr.readline():
                pass
            time.sleep(0.2)
            process.send_signal(number)
            said = process.stderr.read().splitlines()
            assert process.wait(60) == code
        assert any("stopping at TensorRT's next step" in line for line in said)
        assert not any("Traceback" in line for line in said)
        assert said[-1] == "dsunet-export: interrupted" or number == signal.SIGTERM


def test_needs_neither_pytorch_nor_onnx(float16: Path, tmp_path: Path) -> None:
    """A machine that only builds engines installs this package and TensorRT."""
    program = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'onnx_ir', 'onnxscript', 'onnxruntime', 'timm'):\n"
        "    sys.modules[name] = None\n"
        "from dsunet_export.cli import app\n"
        "app()"
    )
    arguments = ["trt", str(float16), *ADA, *SMALL, "-o", str(tmp_path / "x.engine")]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_list_of_gpus() -> None:
    result = trt("--gpu", "list")
    assert result.exit_code == 0
    assert re.search(
        r"^ 8\.9  rtx, tensorrt  GeForce RTX 4090, .*L40S", result.stdout, re.MULTILINE
    )
    assert re.search(r"^12\.0  rtx, tensorrt  GeForce RTX 5090, ", result.stdout, re.MULTILINE)


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "for name in ('tensorrt_rtx', 'tensorrt', 'torch', 'numpy', 'onnx', 'cuda'):\n"
        "    sys.modules[name] = None\n"
        "from dsunet_export.cli import app\n"
        "app()"
    )
    for arguments in (["trt", "--help"], ["trt", "--gpu", "list"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
