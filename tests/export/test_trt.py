"""`dsunet-export trt` with TensorRT for RTX, which builds real engines here without a GPU."""

from __future__ import annotations

import importlib.metadata
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dsunet_export.cli import app
from dsunet_export.tensorrt.builder import build_engine
from dsunet_export.tensorrt.configuration import EngineOptions
from dsunet_export.tensorrt.profiles import Ranges
from dsunet_export.tensorrt.targets import choose, parse_wanted
from dsunet_runtime import read_manifest
from dsunet_runtime.artifact import check_hashes
from dsunet_runtime.flavor import Flavor
from dsunet_runtime.manifest import Engine, Manifest, Profile
from tests.export.engines import RTX_4090, WEIGHTS, graph, pretend_gpus, trt
from tests.export.helpers import one_line

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")

ADA = ("--gpu", "rtx4090")
SMALL = ("--size", "32x32:64x48:96x96")
"""A maximum that keeps builds quick and memory small."""


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused without one must be refused on machines that have one, too."""
    pretend_gpus(monkeypatch)


@pytest.fixture(scope="module")
def float16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return graph(tmp_path_factory.mktemp("float16") / "small.onnx")


@pytest.fixture(scope="module")
def float32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return graph(tmp_path_factory.mktemp("float32") / "small.onnx", "float32")


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Path]:
    """An engine and its manifest that a failing build must leave as they are."""
    folder = tmp_path / "engines"
    folder.mkdir()
    output = folder / "x.engine"
    output.write_bytes(b"an older engine")
    output.with_name("x.engine.json").write_bytes(b"its manifest")
    yield output
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "x.engine": b"an older engine",
        "x.engine.json": b"its manifest",
    }


def built(*arguments: object, output: Path) -> tuple[Manifest, Engine]:
    """The manifest of an engine, built by the command."""
    result = trt(*arguments, "-o", output)
    assert result.exit_code == 0, result.output
    manifest = read_manifest(output)
    assert manifest.engine is not None
    return manifest, manifest.engine


def fails(*arguments: object, match: str, code: int = 1) -> None:
    """One line that says why, after those on flavour and steps; no traceback."""
    result = trt(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    before = r"TensorRT.*, for [\d., ]+|[a-z0-9 ]+: \d+\.\d s"
    lines = [line for line in result.stderr.splitlines() if not re.fullmatch(before, line)]
    assert re.search(match, one_line("\n".join(lines)))


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
            Profile("image", (1, 32, 32, 3), (1, 64, 48, 3), (1, 96, 96, 3)),
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
        proof = engine.proof
        assert (proof.layers, proof.layers_reduced) == (4, 4)
        assert proof.weight_bytes == proof.weight_bytes_reduced == 2 * WEIGHTS
        _, engine = built(
            float32, *ADA, *SMALL, "--precision", "fp32", output=tmp_path / "b.engine"
        )
        proof = engine.proof
        assert (proof.layers, proof.layers_reduced) == (4, 0)
        assert (proof.weight_bytes, proof.weight_bytes_reduced) == (4 * WEIGHTS, 0)

    def test_some_kept_in_float32(self, tmp_path: Path) -> None:
        kept = graph(tmp_path / "kept.onnx", kept=1)
        _, engine = built(kept, *ADA, *SMALL, output=tmp_path / "kept.engine")
        proof = engine.proof
        assert (proof.layers, proof.layers_reduced) == (5, 4)
        assert proof.weight_bytes - proof.weight_bytes_reduced == 4 * 64

    def test_more_in_float32_than_allowed(self, tmp_path: Path, output: Path) -> None:
        kept = graph(tmp_path / "kept.onnx", kept=64)
        fails(kept, *ADA, "-o", output, match=r"only 41.8% of .* are float16 .* kept.weight \(0.02")

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
        pretend_gpus(monkeypatch, RTX_4090)
        _, engine = built(float16, *SMALL, output=tmp_path / "x.engine")
        assert engine.compute_capabilities == ("8.9",)
        assert engine.gpus == ("NVIDIA GeForce RTX 4090",)

    def test_fixed_graph(self, tmp_path: Path) -> None:
        fixed = graph(tmp_path / "fixed.onnx", batch=2, side=48)
        output = tmp_path / "x.engine"
        manifest, _ = built(fixed, *ADA, output=output)
        shape = (2, 48, 48, 3)
        assert manifest.profiles == (Profile("image", shape, shape, shape),)
        again, _ = built(fixed, *ADA, "--batch", "2", "--size", "48x48", output=output)
        assert again.profiles == manifest.profiles

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

    def test_layers_that_the_log_counts(self, float16: Path, tmp_path: Path) -> None:
        choice = choose(Flavor.RTX, parse_wanted(["rtx4090"], []))
        options = EngineOptions(ranges=Ranges(size=((48, 48),) * 3))
        steps: list[str] = []
        result = build_engine(
            float16,
            tmp_path / "x.engine",
            choice,
            options,
            lambda step, seconds: steps.append(step),
        )
        assert result.layers is not None
        assert 1 <= result.layers <= 10  # nodes of the graph; RTX compiles what it can as one
        assert steps == ["build"]

    def test_said(self, float16: Path, tmp_path: Path) -> None:
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
        assert manifest.graph.name == "nano.fp16.onnx"
        assert manifest.graph.sha256 != read_manifest(frames).graph.sha256
        assert manifest.profiles[0].maximum == (1, 1920, 1920, 3)
        # nano's 1.9 million parameters; batch norm and layer scale are folded away.
        assert engine.proof.weight_bytes == pytest.approx(2 * 1.9e6, rel=0.05)
        assert engine.proof.weight_bytes_reduced > 0.95 * engine.proof.weight_bytes
        assert 0.8 < engine.proof.layers_reduced / engine.proof.layers < 1
        assert engine.file.size > engine.proof.weight_bytes
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "nano.engine",
            "nano.engine.json",
        ]

    @pytest.mark.parametrize(
        ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
    )
    def test_interruption(self, frames: Path, output: Path, number: int, code: int) -> None:
        """While it builds, which takes seconds."""
        program = "from dsunet_export.cli import app; app(prog_name='dsunet-export')"
        arguments = ["trt", str(frames), *ADA, "--precision", "fp32", "-v", "-o", str(output)]
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


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            ((), "no GPU here to build for: name one with --gpu"),
            (("--gpu", "rtx2060", *ADA), "keeps Turing .* one engine for 7.5 and another for 8.9"),
            (("--gpu", "h100"), r"does not build for 9.0 \(H100\), only for 7.5, .* --flavor tens"),
            (("--compute-capability", "8.7"), "does not build for 8.7, only for"),
            (("--gpu", "rtx4091"), "no GPU 'rtx4091' is known: did you mean GeForce RTX 4090"),
            (
                (*ADA, "--precision", "fp32"),
                r"in fp16 already.*`dsunet-export onnx --precision fp3",
            ),
            ((*ADA, "--timing-cache", "x"), "--timing-cache is for --flavor tensorrt"),
            ((*ADA, "--strip-weights"), "--strip-weights needs a GPU here"),
        ],
    )
    def test_what_cannot_be(
        self, float16: Path, output: Path, arguments: tuple[object, ...], match: str
    ) -> None:
        fails(float16, *arguments, "-o", output, match=match)

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            (("--batch", "0"), "give a number of images from 1 to 256"),
            (("--batch", "1:2"), "or MIN:OPT:MAX"),
            (("--batch", "4:2:8"), "MIN must not exceed OPT"),
            (("--size", "640"), "give HEIGHTxWIDTH"),
            (("--size", "8x8:9x9:10x8"), "MIN must not exceed OPT"),
            (("--size", "1x99999"), "sides from 1 to 16384"),
            (("--compute-capability", "9"), "'9' is no compute capability"),
            (("--workspace", "0"), "--workspace"),
            (("--opt-level", "6"), "--opt-level"),
            (("--precision", "int8"), "'fp32', 'fp16', 'bf16'"),
            (("--flavor", "torch"), "'auto', 'rtx', 'tensorrt'"),
        ],
    )
    def test_wrong_usage(
        self, float16: Path, output: Path, arguments: tuple[object, ...], match: str
    ) -> None:
        result = trt(float16, *ADA, "-o", output, *arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert match in result.stderr.splitlines()[-1]

    def test_fixed_axes(self, tmp_path: Path, output: Path) -> None:
        fixed = graph(tmp_path / "fixed.onnx", batch=2, side=48)
        match = "fixed to 2 on axis N of 'image': leave --batch out, or .* `--batch dynamic`"
        fails(fixed, *ADA, "--batch", "3", "-o", output, match=match)
        match = "fixed to 48 on axis H of 'image': leave --size out"
        fails(fixed, *ADA, "--size", "64x48", "-o", output, match=match)

    def test_bfloat16_on_turing(self, float32: Path, output: Path) -> None:
        options = ("--gpu", "t4", "--precision", "bf16", "-o", output)
        fails(float32, *options, match="bf16 needs compute capability 8.0 or later, and 7.5")

    def test_stripping_what_has_to_be_converted(self, float32: Path, output: Path) -> None:
        match = "--strip-weights needs a graph in fp16, .* `dsunet-export onnx --precision fp16` f"
        fails(float32, *ADA, "--strip-weights", "-o", output, match=match)

    def test_flavor_that_is_not_installed(self, float16: Path, output: Path) -> None:
        sys.modules.setdefault("tensorrt", None)  # type: ignore[arg-type]
        try:
            match = r"TensorRT is not installed: pip install 'dsunet\[tensorrt\]'"
            fails(float16, *ADA, "--flavor", "tensorrt", "-o", output, match=match)
        finally:
            if sys.modules["tensorrt"] is None:
                del sys.modules["tensorrt"]

    def test_no_flavor_at_all(
        self, float16: Path, output: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for flavor in Flavor:
            monkeypatch.setitem(sys.modules, flavor.module, None)
        fails(float16, *ADA, "-o", output, match=r"not installed: pip install 'dsunet\[rtx\]'")

    def test_what_is_no_artifact(self, float16: Path, tmp_path: Path, output: Path) -> None:
        options = (*ADA, "-o", output)
        fails(tmp_path / "none.onnx", *options, match="No such file")
        fails(output, *options, match="is an engine: name the ONNX file")
        broken = tmp_path / "broken.onnx"
        content = bytearray(float16.read_bytes())
        content[len(content) // 3] ^= 1
        broken.write_bytes(content)
        fails(broken, *options, match="damaged, or changed since it was exported")

    def test_output(self, float16: Path, tmp_path: Path) -> None:
        fails(float16, *ADA, "-o", tmp_path / "x.onnx", match="name of an engine ends in .engine")
        fails(float16, *ADA, "-o", "/proc/x.engine", match="cannot write to /proc: ")
        (tmp_path / "folder.engine").mkdir()
        fails(float16, *ADA, "-o", tmp_path / "folder.engine", match="is a folder: name a file")
        assert [path.name for path in tmp_path.iterdir()] == ["folder.engine"]


class TestFailures:
    def test_operator_that_tensorrt_does_not_know(self, tmp_path: Path, output: Path) -> None:
        foreign = graph(tmp_path / "foreign.onnx", replaced="StringNormalizer")
        match = r"foreign.onnx: TensorRT cannot read StringNormalizer node stem/Relu \(unsupported"
        fails(foreign, *ADA, "-o", output, match=match)

    def test_node_that_cannot_be_built(self, float32: Path, output: Path) -> None:
        """TensorRT for RTX multiplies no float32 matrices on Turing."""
        options = ("--gpu", "rtx2080", "--precision", "fp32", "-o", output)
        fails(float32, *options, match=r"small.onnx: .*'head/MatMul' for Turing .*--input tensors")

    def test_full_disk(self, float16: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def write(file: Path, content: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "write_bytes", write)
        fails(float16, *ADA, *SMALL, "-o", output, match=f"cannot write to {output.parent}: No sp")
        monkeypatch.undo()

    def test_other_precision_without_its_packages(
        self, float32: Path, output: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "dsunet_export.precision", None)
        match = r"which converts it, is not installed: pip install 'dsunet\[export\]'"
        fails(float32, *ADA, "-o", output, match=match)


class TestInspect:
    @pytest.fixture
    def engine(self, float16: Path, tmp_path: Path) -> Path:
        output = tmp_path / "x.engine"
        built(float16, *ADA, *SMALL, "--opt-level", "2", output=output)
        return output

    def inspect(self, *arguments: object) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, ["inspect", *(str(a) for a in arguments)])
        return result.exit_code, result.stdout, result.stderr

    def test_in_words(self, engine: Path) -> None:
        code, text, _ = self.inspect(engine)
        assert code == 0
        lines = [re.split(r"  +", line.strip(), maxsplit=1) for line in text.splitlines()]
        said = dict(lines)
        assert re.fullmatch(r"TensorRT for RTX [\d.]+, linux \S+", said["engine"])
        assert said["for"] == "compute capability 8.9 (GeForce RTX 4090)"
        assert said["takes"] == "image: 1×32×32×3 to 1×96×96×3, best at 1×64×48×3"
        assert said["as parsed"] == "100.0% of the weights' bytes and 4 of 4 layers in float16"
        assert re.fullmatch(r"\d+\.\d MB a context", said["activations"])
        assert said["optimization"] == "level 2"
        assert said["built from"].startswith("small.onnx, sha256 ")
        assert said["precision"] == "float16"
        assert said["input"].startswith("image: uint8 batch×height×width×3")

    def test_as_json(self, engine: Path) -> None:
        code, text, _ = self.inspect(engine, "--json")
        assert code == 0
        assert json.loads(text) == json.loads(read_manifest(engine).to_json())

    def test_what_does_not_belong_together(self, engine: Path, tmp_path: Path) -> None:
        content = engine.read_bytes()
        for changed in (content[:-1], content[:-1] + b"?"):
            engine.write_bytes(changed)
            code, text, error = self.inspect(engine)
            assert (code, text) == (1, "")
            assert re.search("not a pair; copy both again, or build again", one_line(error))
        engine.with_name("x.engine.json").unlink()
        code, text, error = self.inspect(engine)
        assert (code, text) == (1, "")
        assert "x.engine.json: missing" in one_line(error)


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
    assert re.search(r"^ 8\.9  GeForce RTX 4090, .*L40S", result.stdout, re.MULTILINE)
    assert re.search(r"^12\.0  GeForce RTX 5090, ", result.stdout, re.MULTILINE)


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
