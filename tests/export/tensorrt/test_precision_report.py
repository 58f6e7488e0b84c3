"""The precision of a network, reported of graphs that pretend to one.

What is reported of honest graphs is in test_trt.py.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from dsunet_export.errors import ExportError
from dsunet_export.tensorrt.parse_graph import parse_graph
from dsunet_export.tensorrt.precision_report import report_precision
from dsunet_runtime import read_manifest
from dsunet_runtime.artifact.flavor import Flavor, typed_network
from dsunet_runtime.artifact.manifest import KeptInFloat32, Precision, PrecisionReport
from dsunet_runtime.backends.tensorrt.log import log_of
from tests.export.engines import WEIGHTS, edited, graph, trt
from tests.export.helpers import one_line

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")

MATMULS = ("stem/Conv", "head/MatMul")
WIDE, NARROW = TensorProto.FLOAT, TensorProto.FLOAT16


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return graph(tmp_path_factory.mktemp("honest") / "honest.onnx")


def report(path: Path) -> PrecisionReport:
    """Of the graph as TensorRT reads it, which builds nothing."""
    trt = Flavor.RTX.load()
    logger = log_of(trt)
    builder = trt.Builder(logger)
    network = typed_network(trt, builder)
    parser = parse_graph(trt, network, logger, path, path)
    found = report_precision(trt, network, read_manifest(path).precision)
    del parser  # not before: it holds the weights
    return found


def widen(graph: onnx.GraphProto, *matmuls: str, behind: str | None = None) -> None:
    """Compute some nodes in float32: all their inputs are cast to it, and their output back.

    With `behind` there is an operator of that name between each weight and its cast.
    """
    nodes: list[Any] = []
    for node in graph.node:
        if node.name not in matmuls:
            nodes.append(node)
            continue
        weights = {weight.name for weight in graph.initializer}
        for index, name in enumerate(node.input):
            inner, wide = name, f"{name}.wide"
            if behind and name in weights:
                inner = f"{name}.moved"
                nodes.append(helper.make_node(behind, [name], [inner], f"{name}/{behind}"))
            nodes.append(helper.make_node("Cast", [inner], [wide], f"{name}/Cast", to=WIDE))
            node.input[index] = wide
        (output,) = node.output
        node.output[0] = f"{output}.wide"
        back = helper.make_node("Cast", [node.output[0]], [output], f"{output}/Cast", to=NARROW)
        nodes += [node, back]
    del graph.node[:]
    graph.node.extend(nodes)


def test_weights_that_are_cast_to_float32(honest: Path, tmp_path: Path) -> None:
    """Every byte is stored as float16, and none is computed with."""
    planted = edited(honest, tmp_path / "x.onnx", lambda graph: widen(graph, *MATMULS))
    with pytest.raises(
        ExportError, match=r"only 0\.0% of the weights are float16 as TensorRT reads"
    ):
        report(planted)


def test_some_weights_that_are_cast_to_float32(honest: Path, tmp_path: Path) -> None:
    planted = edited(honest, tmp_path / "x.onnx", lambda graph: widen(graph, "head/MatMul"))
    share = 1 - 64 * 64 / WEIGHTS
    with pytest.raises(
        ExportError, match=rf"only {share:.1%} .*: head\.weight \(0\.01 MB\): export"
    ):
        report(planted)


def test_casts_that_are_not_seen_beside_the_weights(honest: Path, tmp_path: Path) -> None:
    """The computed types decide."""
    planted = edited(
        honest, tmp_path / "x.onnx", lambda graph: widen(graph, *MATMULS, behind="Identity")
    )
    match = (
        r"only 0 of 2 convolutions and .* float16 .* first others: stem/Conv, head/MatMul: export"
    )
    with pytest.raises(ExportError, match=match):
        report(planted)


def test_products_that_were_kept_in_float32(honest: Path, tmp_path: Path) -> None:
    """As the manifest says; they are not held against the rest."""
    kept = (KeptInFloat32("head/*", "planted", 1),)
    planted = edited(
        honest,
        tmp_path / "x.onnx",
        lambda graph: widen(graph, "head/MatMul", behind="Identity"),
        Precision("float16", kept),
    )
    found = report(planted)
    assert (found.layers, found.layers_reduced) == (4, 3)


def test_weights_that_are_cast_to_float16(tmp_path: Path) -> None:
    """They are folded, so that the engine holds them as float16."""

    def narrow(graph: onnx.GraphProto) -> None:
        for weight in graph.initializer:
            values = onnx.numpy_helper.to_array(weight).astype("float32")
            wide = onnx.numpy_helper.from_array(values, f"{weight.name}.wide")
            graph.node.insert(0, helper.make_node("Cast", [wide.name], [weight.name], to=NARROW))
            weight.CopyFrom(wide)

    planted = edited(graph(tmp_path / "honest.onnx"), tmp_path / "x.onnx", narrow)
    found = report(planted)
    assert found.weight_bytes == found.weight_bytes_reduced == 4 * WEIGHTS
    assert (found.layers, found.layers_reduced) == (4, 4)


def test_nothing_is_written(honest: Path, tmp_path: Path) -> None:
    planted = edited(honest, tmp_path / "planted.onnx", lambda graph: widen(graph, *MATMULS))
    result = trt(planted, "--gpu", "rtx4090", "-o", tmp_path / "x.engine")
    assert (result.exit_code, result.stdout) == (1, "")
    *_, error = result.stderr.splitlines()
    assert re.search(r"only 0\.0% of the weights are float16", one_line(error))
    assert [path.name for path in tmp_path.iterdir()] == ["planted.onnx"]
