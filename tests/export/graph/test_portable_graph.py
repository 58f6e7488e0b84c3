"""The operators and types that the graphs use, and their masks in a second runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx_ir.passes import common as passes

from dsunet_runtime.backends import openvino
from dsunet_runtime.selftest.pictures import picture
from tests.export.helpers import graph_of

SIZES = [(1, 64, 48), (2, 480, 640), (1, 1080, 1920)]


def pictures(count: int, height: int, width: int) -> NDArray[np.uint8]:
    """The first pictures of the self-test, which show objects."""
    return np.stack([picture(number, height, width) for number in range(count)])


def test_int64_is_for_shapes_and_indices(frames: Path) -> None:
    """OpenVINO computes int64 in 32 bits; TensorRT supports few operators in it."""
    model = graph_of(frames)
    passes.ShapeInferencePass()(model)
    large = {
        f"{node.name} ({node.op_type})"
        for node in model.graph
        for value in node.outputs
        if value.dtype is ir.DataType.INT64 and not is_small(value) and not makes_indices(node)
    }
    assert not large


def is_small(value: ir.Value) -> bool:
    """Whether it holds a shape, or a part of one."""
    assert value.shape is not None
    return len(value.shape) == 0 or (
        len(value.shape) == 1 and isinstance(value.shape[0], int) and value.shape[0] <= 6
    )


def makes_indices(node: ir.Node) -> bool:
    """Whether it casts indices for Gather."""
    users = [use.node.op_type for output in node.outputs for use in output.uses()]
    return node.op_type == "Cast" and {*users} == {"Gather"}


@pytest.mark.parametrize("shape", SIZES, ids=lambda shape: "x".join(map(str, shape)))
def test_openvino_agrees_with_onnx_runtime(trained: Path, shape: tuple[int, int, int]) -> None:
    """In float32, up to rounding: one level, at few pixels."""
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    core, _ = openvino.start()
    compiled = core.compile_model(str(trained), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    session = onnxruntime.InferenceSession(trained, providers=["CPUExecutionProvider"])
    image = pictures(*shape)
    (expected,) = session.run(None, {"image": image})
    differences = np.abs(compiled(image)[0].astype(np.int16) - expected)
    assert differences.max() <= 1
    assert differences.mean() < 0.01
    assert expected.std() > 10
