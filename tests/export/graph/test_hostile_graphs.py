"""Forged graphs with a valid manifest and valid hashes.

Each command refuses them in one line, and waits for nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

from dsunet_export.cli import app
from dsunet_export.errors import ExportError
from dsunet_export.options import read_patterns
from dsunet_runtime import read_manifest
from dsunet_runtime.artifact.onnx_weights import external_files
from tests.export.engines import ADA
from tests.export.helpers import one_line
from tests.runtime import artifacts

Edit = Callable[[onnx.GraphProto], object]


def moved(weight: TensorProto, location: str, offset: str = "0") -> None:
    """Let a weight be read from a file."""
    size = len(weight.raw_data)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", str(size))):
        weight.external_data.add(key=key, value=value)


def weight(name: str) -> Edit:
    return lambda graph: moved(graph.initializer[5], name)


def attribute(graph: onnx.GraphProto) -> None:
    value = TensorProto(name="k", data_type=TensorProto.FLOAT, dims=[4], raw_data=bytes(16))
    moved(value, "pipe")
    graph.node.insert(0, helper.make_node("Constant", [], ["k"], value=value))


def branch(graph: onnx.GraphProto) -> None:
    value = TensorProto(name="k", data_type=TensorProto.FLOAT, dims=[4], raw_data=bytes(16))
    moved(value, "pipe")
    inner = helper.make_graph([], "inner", [], [], initializer=[value])
    node = helper.make_node("If", ["c"], ["o"], then_branch=inner, else_branch=inner)
    graph.node.append(node)


def other(source: Path, path: Path, edit: Edit) -> Path:
    model = onnx.load(source)
    del model.metadata_props[:]
    edit(model.graph)
    return artifacts.write(path, model, read_manifest(source))


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (weight("../secret"), "../secret"),
        (weight("/etc/passwd"), "/etc/passwd"),
        (weight("pipe"), "pipe"),
        (weight("\x1b[2Jevil"), r"\x1b[2Jevil"),
        (attribute, "pipe"),
        (branch, "pipe"),
    ],
    ids=["outside", "absolute", "pipe", "control", "attribute", "branch"],
)
def test_files_that_the_manifest_does_not_name(
    float32: Path, tmp_path: Path, edit: Edit, named: str
) -> None:
    def planted(graph: onnx.GraphProto) -> None:
        graph.initializer.extend([graph.initializer[0]] * 5)
        edit(graph)

    os.mkfifo(tmp_path / "pipe")
    path = other(float32, tmp_path / "a.onnx", planted)
    for arguments in (
        ["inspect"],
        ["trt", *ADA, "-o", tmp_path / "x.engine"],
        ["trt", *ADA, "-o", tmp_path / "x.engine", "--precision", "fp32"],
    ):
        result = CliRunner().invoke(app, [str(arguments[0]), str(path), *map(str, arguments[1:])])
        assert result.exit_code == 1
        line = one_line(result.stderr.splitlines()[-1])
        assert f"reads weights from '{named}', which its manifest does not name" in line


def test_external_files(frames_beside: Path, frames: Path) -> None:
    assert external_files(frames_beside) == {"nano.onnx.data"}
    assert external_files(frames) == set()


def change(name: str, edit: Edit) -> object:
    return pytest.param(edit, id=name)


def set_dims(*dims: int) -> Edit:
    def edit(graph: onnx.GraphProto) -> None:
        graph.initializer[5].dims[:] = dims

    return edit


def set_node(field: str, value: str) -> Edit:
    return lambda graph: setattr(graph.node[100], field, value)


def unordered(graph: onnx.GraphProto) -> None:
    graph.node[100].input[0] = graph.node[300].output[0]


def made_twice(graph: onnx.GraphProto) -> None:
    graph.node[100].output[0] = graph.node[50].output[0]


def nameless(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        node.name = ""


def unknown_type(graph: onnx.GraphProto) -> None:
    graph.initializer[5].data_type = 77


def empty(graph: onnx.GraphProto) -> None:
    del graph.node[:]


@pytest.mark.parametrize(
    "edit",
    [
        change("huge", set_dims(1 << 40, 1 << 40)),
        change("negative", set_dims(-1)),
        change("operator", set_node("op_type", "\x1b[31mEvil" + "x" * 100_000)),
        change("domain", set_node("domain", "evil" * 10_000)),
        change("unordered", unordered),
        change("made twice", made_twice),
        change("nameless", nameless),
        change("unknown type", unknown_type),
        change("empty", empty),
    ],
)
def test_graphs_that_are_none(frames: Path, tmp_path: Path, edit: Edit) -> None:
    """Whatever a library raises."""
    path = other(frames, tmp_path / "a.onnx", edit)
    trt = ["trt", path, *ADA, "--precision", "fp16", "-o", tmp_path / "x.engine"]
    for arguments in (trt, ["verify", frames, path, "--layers"]):
        result = CliRunner().invoke(app, list(map(str, arguments)))
        if result.exit_code == 0:
            continue
        assert isinstance(result.exception, SystemExit)
        assert result.exit_code == 1
        line = result.stderr.splitlines()[-1]
        assert line.startswith("dsunet-export: ")
        assert len(line) < 1500
        assert line.isprintable()
    assert list(tmp_path.iterdir()) == [path]


def test_patterns_from_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"a" * 2_000_000)
    for name, match in (
        ("pipe", "is a pipe or a device"),
        (".", "is a folder"),
        ("large", "larger than 1 MB"),
    ):
        with pytest.raises(ExportError, match=match):
            read_patterns([f"@{tmp_path / name}"])
