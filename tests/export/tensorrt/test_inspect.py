"""`dsunet-export inspect` of an engine."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner

from dsunet_export.cli import app
from dsunet_runtime import read_manifest
from tests.export.engines import ADA, SMALL, built
from tests.export.helpers import one_line
from tests.runtime import artifacts

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")


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
        assert re.fullmatch(r"\d+\.\d MB per execution context", said["activations"])
        assert said["optimization"] == "level 2"
        graph = read_manifest(engine).graph
        source = f"small.onnx, sha256 {graph.sha256} of its first {graph.size:,} bytes"
        assert said["built from"] == source
        assert said["precision"] == "float16"
        assert said["input"].startswith("image: uint8 batch×height×width×3")

    def test_what_a_terminal_obeys_is_not_printed(self, float16: Path, tmp_path: Path) -> None:
        graph, manifest = onnx.load(float16), read_manifest(float16)
        named = dataclasses.replace(manifest, weights_origin="\x1b[2Jmine.pth")
        path = artifacts.write(tmp_path / "named.onnx", graph, named)
        for options in ((), ("--json",)):
            code, text, _ = self.inspect(path, *options)
            assert code == 0
            assert "mine.pth" in text
            assert "\x1b" not in text

    def test_as_json(self, engine: Path) -> None:
        code, text, _ = self.inspect(engine, "--json")
        assert code == 0
        assert json.loads(text) == json.loads(read_manifest(engine).to_json())

    def test_without_the_weights_it_needs(self, float16: Path, engine: Path) -> None:
        """It is described all the same, and then what is wrong is said."""
        manifest = read_manifest(engine)
        assert manifest.engine is not None
        stripped = dataclasses.replace(manifest.engine, weights_stripped=True)
        document = dataclasses.replace(manifest, engine=stripped).to_json()
        engine.with_name("x.engine.json").write_text(document)
        for arguments, said in (
            ((engine,), "the weights are in small.onnx: keep it beside the engine"),
            ((engine, "--json"), '"weights_stripped": true'),
        ):
            code, text, error = self.inspect(*arguments)
            assert code == 1
            assert said in text
            assert "small.onnx: missing; x.engine was built without weights" in one_line(error)
        engine.with_name("small.onnx").write_bytes(float16.read_bytes())
        code, text, error = self.inspect(engine)
        assert (code, error) == (0, "")

    def test_what_does_not_belong_together(self, engine: Path, tmp_path: Path) -> None:
        content = engine.read_bytes()
        for changed in (content[:-1], content[:-1] + b"?"):
            engine.write_bytes(changed)
            code, text, error = self.inspect(engine)
            assert code == 1
            assert "TensorRT for RTX" in text
            assert re.search("another engine; copy both again, or build again", one_line(error))
        engine.with_name("x.engine.json").unlink()
        code, text, error = self.inspect(engine)
        assert (code, text) == (1, "")
        assert "x.engine.json: missing" in one_line(error)
