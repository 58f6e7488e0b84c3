"""The description of an artifact in ONNX's own fields, read with the onnx package alone."""

from __future__ import annotations

from pathlib import Path

import onnx

import dsunet_runtime
from dsunet_export.graph.self_description import describe_itself
from tests.export.helpers import graph_of
from tests.runtime import artifacts


def read(path: Path) -> tuple[onnx.ModelProto, dict[str, str]]:
    model = onnx.load(path, load_external_data=False)
    return model, {entry.key: entry.value for entry in model.metadata_props}


def test_frames(frames: Path) -> None:
    model, entries = read(frames)
    assert (model.producer_name, model.producer_version) == ("dsunet", dsunet_runtime.__version__)
    assert entries["inputs"] == "image, uint8, batch×height×width×3 (NHWC), RGB, 0 to 255"
    assert entries["outputs"] == "mask, uint8, batch×height×width (NHW), 0 to 255"
    assert entries["preprocessing"].startswith(
        "in the graph: the RGB image is resampled to 160×160"
    )
    assert entries["postprocessing"].startswith("in the graph: ")
    assert entries["precision"] == "float32"
    for text in (*(entries[name] for name in ("inputs", "outputs", "weights")), "arXiv:2503.21187"):
        assert text in model.doc_string


def test_what_is_not_in_the_graph_is_said(tmp_path: Path) -> None:
    path = artifacts.tensors(tmp_path / "tensors.onnx")
    graph = graph_of(path)
    graph.metadata_props["old"] = "another file's"
    describe_itself(graph, dsunet_runtime.read_manifest(path))
    assert "old" not in graph.metadata_props
    assert graph.metadata_props["preprocessing"].startswith("not in the graph: ")
    assert "mean 0.485, 0.456, 0.406 and standard" in graph.metadata_props["preprocessing"]
    assert graph.metadata_props["postprocessing"].startswith("not in the graph: ")
