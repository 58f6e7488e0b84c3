"""Refusals of `dsunet-export trt`: one line with the reason, and no file."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

import dsunet_export.convert_artifact
from dsunet_runtime import read_manifest
from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.artifact.manifest import Manifest
from dsunet_runtime.extras import install_command
from tests.export.engines import ADA, RTX_4090, SMALL, edited, fails, graph, pretend_gpu, trt

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
pytestmark = pytest.mark.usefixtures("no_gpu")


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            (
                (),
                r"this machine has no GPU to build for \(CUDA finds no GPU\): name one with --gpu",
            ),
            (
                ("--gpu", "rtx2060", *ADA),
                "Turing .* may be slower .* one engine for 7.5 and another for 8.9",
            ),
            (("--gpu", "h100"), r"does not build for 9.0 \(H100\), only for 7.5, .* --flavor tens"),
            (("--compute-capability", "8.7"), "does not build for 8.7, only for"),
            (
                (*ADA, "--precision", "fp32"),
                r"in fp16 and cannot be converted to fp32: .*`dsunet-export onnx --precision fp3",
            ),
            ((*ADA, "--timing-cache", "x"), "--timing-cache is for --flavor tensorrt"),
        ],
    )
    def test_what_cannot_be(
        self, float16: Path, older_engine: Path, arguments: tuple[object, ...], match: str
    ) -> None:
        fails(float16, *arguments, "-o", older_engine, match=match)

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            (("--gpu", "rtx4091"), "unknown GPU 'rtx4091': did you mean GeForce RTX 4090"),
            (("--batch", "0"), "give a number of images from 1 to 256"),
            (("--batch", "1:2"), "or MIN:OPT:MAX"),
            (("--batch", "4:2:8"), "MIN must not exceed OPT"),
            (("--size", "640"), "give HEIGHTxWIDTH"),
            (("--size", "8x8:9x9:10x8"), "MIN must not exceed OPT"),
            (("--size", "1x99999"), "sides from 1 to 16384"),
            (("--compute-capability", "9"), "'9' is not a compute capability"),
            (("--workspace", "0"), "--workspace"),
            (("--opt-level", "6"), "--opt-level"),
            (("--precision", "int8"), "'fp32', 'fp16', 'bf16'"),
            (("--flavor", "torch"), "'auto', 'rtx', 'tensorrt'"),
        ],
    )
    def test_wrong_usage(
        self, float16: Path, older_engine: Path, arguments: tuple[object, ...], match: str
    ) -> None:
        result = trt(float16, *ADA, "-o", older_engine, *arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert match in result.stderr.splitlines()[-1]

    def test_fixed_axes(self, tmp_path: Path, older_engine: Path) -> None:
        fixed = graph(tmp_path / "fixed.onnx", batch=2, side=48)
        match = "fixed to 2 on axis N of 'image': omit --batch, or .* `--batch dynamic`"
        fails(fixed, *ADA, "--batch", "3", "-o", older_engine, match=match)
        match = "fixed to 48 on axis H of 'image': omit --size"
        fails(fixed, *ADA, "--size", "64x48", "-o", older_engine, match=match)

    def test_bfloat16_on_turing(self, float32: Path, older_engine: Path) -> None:
        options = ("--gpu", "t4", "--precision", "bf16", "-o", older_engine)
        fails(
            float32,
            *options,
            match="bf16 needs compute capability 8.0 or later, and the target is 7.5",
        )

    def test_stripping_what_has_to_be_converted(
        self, float32: Path, older_engine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pretend_gpu(monkeypatch, RTX_4090)
        match = "--strip-weights needs a graph in fp16, .* `dsunet-export onnx --precision fp16` f"
        fails(float32, *ADA, "--strip-weights", "-o", older_engine, match=match)

    def test_flavor_that_is_not_installed(self, float16: Path, older_engine: Path) -> None:
        sys.modules.setdefault("tensorrt", None)  # type: ignore[arg-type]
        try:
            match = "TensorRT is not installed: " + re.escape(install_command("tensorrt,cuda"))
            fails(float16, *ADA, "--flavor", "tensorrt", "-o", older_engine, match=match)
        finally:
            if sys.modules["tensorrt"] is None:
                del sys.modules["tensorrt"]

    def test_no_flavor_at_all(
        self, float16: Path, older_engine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for flavor in Flavor:
            monkeypatch.setitem(sys.modules, flavor.module, None)
        match = "not installed: " + re.escape(install_command("rtx"))
        fails(float16, *ADA, "-o", older_engine, match=match)

    def test_what_is_no_artifact(self, float16: Path, tmp_path: Path, older_engine: Path) -> None:
        options = (*ADA, "-o", older_engine)
        fails(tmp_path / "none.onnx", *options, match="No such file")
        fails(older_engine, *options, match="is an engine: name the ONNX file")
        broken = tmp_path / "broken.onnx"
        content = bytearray(float16.read_bytes())
        content[len(content) // 3] ^= 1
        broken.write_bytes(content)
        fails(broken, *options, match="damaged, or changed since it was exported")

    def test_output(self, float16: Path, tmp_path: Path) -> None:
        (tmp_path / "folder.engine").mkdir()
        for name, match in (
            ("x.onnx", "name of an engine ends in .engine or .plan"),
            ("x.ENGINE.json", "name of an engine ends in"),
            ("folder.engine", "is a folder: name a file"),
            ("x\udcff.plan", "x.xff.plan: its name goes into the manifest, so it must be UTF-8"),
            ("x" * 246 + ".engine", "x.engine.json cannot be written: File name too long"),
        ):
            fails(float16, *ADA, "-o", tmp_path / name, match=match, code=2)
        fails(float16, *ADA, "-o", "/proc/x.engine", match="cannot write to /proc: ")
        assert [path.name for path in tmp_path.iterdir()] == ["folder.engine"]


class TestFailures:
    def test_operator_that_tensorrt_does_not_know(self, tmp_path: Path, older_engine: Path) -> None:
        foreign = graph(tmp_path / "foreign.onnx", replaced="StringNormalizer")
        match = r"foreign.onnx: TensorRT cannot parse StringNormalizer node stem/Relu \(unsupported"
        fails(foreign, *ADA, "-o", older_engine, match=match)

    def test_such_an_operator_in_a_node_without_a_name(
        self, tmp_path: Path, older_engine: Path
    ) -> None:
        named = graph(tmp_path / "named.onnx", replaced="StringNormalizer")
        foreign = edited(
            named,
            tmp_path / "foreign.onnx",
            lambda graph: [node.ClearField("name") for node in graph.node],
        )
        match = r"parse StringNormalizer node number 3, without a name \(unsupported"
        fails(foreign, *ADA, "-o", older_engine, match=match)

    def test_node_that_cannot_be_built(self, float32: Path, older_engine: Path) -> None:
        """TensorRT for RTX multiplies no float32 matrices on Turing."""
        options = ("--gpu", "rtx2080", "--precision", "fp32", "-o", older_engine)
        fails(float32, *options, match=r"small.onnx: .*'head/MatMul' for Turing .*--input tensors")

    def test_graph_that_was_converted(
        self, float16: Path, float32: Path, older_engine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The message names the file of the user."""

        def convert(onnx: Path, output: Path, *_: object) -> Manifest:
            shutil.copy(float16, output)
            return read_manifest(output)

        monkeypatch.setattr(dsunet_export.convert_artifact, "convert_artifact", convert)
        options = (*ADA, *SMALL, "--workspace", "1", "-o", older_engine)
        fails(float32, *options, match=r"cannot build small\.onnx: .* --workspace, or")

    def test_full_disk(
        self, float16: Path, older_engine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def write(file: Path, content: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "write_bytes", write)
        fails(
            float16,
            *ADA,
            *SMALL,
            "-o",
            older_engine,
            match=f"cannot write to {older_engine.parent}: No sp",
        )
        monkeypatch.undo()

    def test_other_precision_without_its_packages(
        self, float32: Path, older_engine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "dsunet_export.convert_artifact", None)
        match = "which converts it, is not installed: " + re.escape(install_command("export"))
        fails(float32, *ADA, "-o", older_engine, match=match)
