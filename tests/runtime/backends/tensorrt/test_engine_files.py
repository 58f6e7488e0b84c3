"""An engine file, its manifest, and the ONNX file that has the weights of a stripped one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from dsunet_runtime import ArtifactError, read_manifest
from dsunet_runtime.artifact.file_digest import digest
from dsunet_runtime.artifact.integrity import check_hashes, check_sizes
from dsunet_runtime.artifact.manifest import Manifest
from dsunet_runtime.artifact.manifest_file import engine_manifest_file
from tests.runtime import artifacts, engines, fake_tensorrt
from tests.runtime.backends.tensorrt.helpers import REBUILD, change_engine, fails_to_load, runs
from tests.runtime.conftest import Machine


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
        change_engine(engine, file=digest(engine))
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
        change_engine(path, file=digest(path))
        runs(path)


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
