"""Graphs that do not match their manifests."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from dsunet_runtime import read_manifest
from tests.cpp.both import of_c, of_python
from tests.cpp.c_interface import BACKEND, CallError, Library, mask_of, packed
from tests.runtime import artifacts


def test_a_graph_that_reads_what_the_manifest_does_not_name(
    library: Library, tmp_path: Path
) -> None:
    """Before ONNX Runtime opens it: a pipe may never end."""
    path = artifacts.frames(tmp_path / "a.onnx", external=True)
    model = onnx.load(path, load_external_data=False)
    os.mkfifo(tmp_path / "pipe")
    model.graph.initializer[0].external_data[0].value = "pipe"
    artifacts.write(path, model, read_manifest(path))
    assert of_c(library, path) == (
        f"{path}: its graph reads weights from 'pipe', which its manifest does not name: changed "
        f"since it was exported; export it again"
    )


class TestGraphsThatComputeSomethingElse:
    """The manifest determines what is allocated: a graph that does not match it is an error."""

    def write(
        self, path: Path, nodes: list[onnx.NodeProto], dtype: int, shape: list[object]
    ) -> Path:
        artifacts.frames(path)
        model, manifest = onnx.load(path), read_manifest(path)
        model.graph.ClearField("node")
        model.graph.node.extend(nodes)
        model.graph.ClearField("output")
        model.graph.output.append(helper.make_tensor_value_info("mask", dtype, shape))
        return artifacts.write(path, model, manifest)

    def fails(self, library: Library, path: Path, match: str) -> None:
        image, levels = np.zeros((40, 60, 3), np.uint8), np.full((40, 60), 7, np.uint8)
        with pytest.raises(CallError, match=match) as caught, library.open(path) as segmenter:
            segmenter.segment([packed(image)], [mask_of(levels)])
        assert caught.value.status == BACKEND
        assert str(caught.value).isprintable()

    def test_floats(self, library: Library, tmp_path: Path) -> None:
        nodes = [
            helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["float", "weights"], ["mask"]),
        ]
        shape = ["batch", "height", "width"]
        path = self.write(tmp_path / "a.onnx", nodes, TensorProto.FLOAT, shape)
        self.fails(library, path, "^ONNX Runtime failed: .*data type")

    def test_other_shapes(self, library: Library, tmp_path: Path) -> None:
        nodes = [helper.make_node("Identity", ["image"], ["mask"])]
        shape = ["batch", "height", "width", 3]
        path = self.write(tmp_path / "a.onnx", nodes, TensorProto.UINT8, shape)
        self.fails(library, path, "^ONNX Runtime failed: ")

    def test_two_outputs(self, library: Library, tmp_path: Path) -> None:
        path = artifacts.frames(tmp_path / "a.onnx")
        model, manifest = onnx.load(path), read_manifest(path)
        model.graph.output.append(helper.make_tensor_value_info("float", TensorProto.FLOAT, None))
        artifacts.write(path, model, manifest)
        assert of_c(library, path) == of_python(path)
