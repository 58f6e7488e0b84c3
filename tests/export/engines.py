"""What the tests of engines have in common: small graphs, and GPUs that are not here."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner, Result

import dsunet_export.tensorrt.builder
import dsunet_export.tensorrt.targets
from dsunet import DSUNetConfig
from dsunet_export.cli import app
from dsunet_runtime import read_manifest
from dsunet_runtime.cuda import Gpu
from dsunet_runtime.manifest import Precision
from tests.runtime import artifacts

CHANNELS = 64
WEIGHTS = CHANNELS * 3 * 3 * 3 + CHANNELS + CHANNELS * CHANNELS
"""Numbers in `graph`'s weights: those of the convolution, its bias, those of the product."""
RTX_4090 = Gpu(0, "NVIDIA GeForce RTX 4090", "8.9", 24 << 30, "0000:01:00.0")
H100 = Gpu(0, "NVIDIA H100 80GB HBM3", "9.0", 80 << 30, "0000:01:00.0")

_TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16}


def graph(
    path: Path,
    compute: str = "float16",
    *,
    kept: int = 0,
    batch: artifacts.Dimension = "batch",
    side: artifacts.Dimension | None = None,
    channels: int = CHANNELS,
    replaced: str | None = None,
) -> Path:
    """An artifact of the form `frames`, strongly typed: a convolution, a product, a maximum.

    `kept` is the width of a product in float32 that is added to it; with `side` the frames are
    square and fixed; with `replaced` the ReLU is an operator of that name.
    """
    small = artifacts.frames(path, batch=batch, height=side or "height", width=side or "width")
    model = onnx.load(small)
    generator = np.random.default_rng(0)

    def weights(name: str, *shape: int, dtype: str = compute) -> onnx.TensorProto:
        values: NDArray[np.float64] = generator.normal(size=shape) * 0.05
        return numpy_helper.from_array(values.astype(dtype), name)

    last = "product"
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], "input/Cast", to=_TYPES[compute]),
        helper.make_node("Transpose", ["float"], ["planes"], "stem/Transpose", perm=[0, 3, 1, 2]),
        helper.make_node(
            "Conv", ["planes", "stem.weight", "stem.bias"], ["c"], "stem/Conv", pads=[1] * 4
        ),
        helper.make_node(replaced or "Relu", ["c"], ["r"], "stem/Relu"),
        helper.make_node("Transpose", ["r"], ["rows"], "head/Transpose", perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["rows", "head.weight"], ["product"], "head/MatMul"),
    ]
    initializers = [
        weights("stem.weight", channels, 3, 3, 3),
        weights("stem.bias", channels),
        weights("head.weight", channels, channels),
    ]
    if kept:
        nodes += [
            helper.make_node("Cast", ["product"], ["wide"], "kept/Cast", to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["wide", "kept.weight"], ["k"], "kept/MatMul"),
            helper.make_node("Cast", ["k"], ["narrow"], "kept/Cast_1", to=_TYPES[compute]),
        ]
        initializers.append(weights("kept.weight", channels, kept, dtype="float32"))
        last = "narrow"
    nodes += [
        helper.make_node("ReduceMax", [last], ["m"], "head/Max", axes=[3], keepdims=0),
        helper.make_node("Cast", ["m"], ["mask"], "output/Cast", to=TensorProto.UINT8),
    ]
    del model.graph.node[:], model.graph.initializer[:], model.metadata_props[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(initializers)
    manifest = dataclasses.replace(
        read_manifest(small),
        model=DSUNetConfig.preset("nano").to_dict(),
        precision=Precision(compute=compute),
    )
    return artifacts.write(path, model, manifest)


def trt(*arguments: object) -> Result:
    """`dsunet-export trt`, in this process."""
    return CliRunner().invoke(app, ["trt", *(str(argument) for argument in arguments)])


def pretend_gpus(monkeypatch: pytest.MonkeyPatch, *gpus: Gpu) -> None:
    """Let these be the GPUs of this machine."""
    for module in (dsunet_export.tensorrt.targets, dsunet_export.tensorrt.builder):
        monkeypatch.setattr(module, "local_gpus", lambda: gpus)
