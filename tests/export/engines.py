"""Small graphs and simulated GPUs, for the tests of engines."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner, Result

import dsunet_runtime.cuda
from dsunet import DSUNetConfig
from dsunet_export.cli import app
from dsunet_export.tensorrt.targets import local_gpu
from dsunet_runtime import BackendError, read_manifest
from dsunet_runtime.artifact.manifest import Engine, KeptInFloat32, Manifest, Precision
from dsunet_runtime.cuda import Gpu
from tests.export.helpers import one_line
from tests.runtime import artifacts
from tests.runtime.fake_cuda import FakeCuda

ADA = ("--gpu", "rtx4090")
SMALL = ("--size", "32x32:64x48:96x96")
"""A maximum that keeps builds quick and memory small."""
CHANNELS = 64
WEIGHTS = CHANNELS * 3 * 3 * 3 + CHANNELS + CHANNELS * CHANNELS
"""Number of elements in the weights of `graph`: convolution, its bias, matmul."""
KEPT = (KeptInFloat32("kept/*", "a test's", 1),)
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
    """An artifact of the form `frames`, strongly typed: a convolution, a matmul, a maximum.

    `kept` is the width of a matmul in float32 that is added to it; with `side` the frames are
    square and fixed; with `replaced` the ReLU is an operator of that name.
    """
    small = artifacts.frames(path, batch=batch, height=side or "height", width=side or "width")
    model = onnx.load(small)
    generator = np.random.default_rng(0)

    def weights(name: str, *shape: int, dtype: str = compute) -> onnx.TensorProto:
        values: NDArray[np.float64] = generator.normal(size=shape) * 0.05
        return numpy_helper.from_array(values.astype(dtype), name)

    last = "matmul"
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], "input/Cast", to=_TYPES[compute]),
        helper.make_node("Transpose", ["float"], ["planes"], "stem/Transpose", perm=[0, 3, 1, 2]),
        helper.make_node(
            "Conv", ["planes", "stem.weight", "stem.bias"], ["c"], "stem/Conv", pads=[1] * 4
        ),
        helper.make_node(replaced or "Relu", ["c"], ["r"], "stem/Relu"),
        helper.make_node("Transpose", ["r"], ["rows"], "head/Transpose", perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["rows", "head.weight"], ["matmul"], "head/MatMul"),
    ]
    initializers = [
        weights("stem.weight", channels, 3, 3, 3),
        weights("stem.bias", channels),
        weights("head.weight", channels, channels),
    ]
    if kept:
        nodes += [
            helper.make_node("Cast", ["matmul"], ["wide"], "kept/Cast", to=TensorProto.FLOAT),
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
        precision=Precision(compute, KEPT if kept else ()),
    )
    return artifacts.write(path, model, manifest)


def edited(
    source: Path,
    output: Path,
    edit: Callable[[onnx.GraphProto], object],
    precision: Precision | None = None,
) -> Path:
    """An artifact whose graph was edited by hand, with the manifest of `source`.

    With `precision` the manifest says that instead.
    """
    model, manifest = onnx.load(source), read_manifest(source)
    edit(model.graph)
    manifest = dataclasses.replace(manifest, precision=precision or manifest.precision)
    return artifacts.write(output, model, manifest)


def trt(*arguments: object) -> Result:
    """`dsunet-export trt`, in this process."""
    return CliRunner().invoke(app, ["trt", *(str(argument) for argument in arguments)])


def built(*arguments: object, output: Path) -> tuple[Manifest, Engine]:
    """Build an engine with the command; return its manifest."""
    result = trt(*arguments, "-o", output)
    assert result.exit_code == 0, result.output
    manifest = read_manifest(output)
    assert manifest.engine is not None
    return manifest, manifest.engine


def fails(*arguments: object, match: str, code: int = 1) -> None:
    """Return the line with the reason; before it are only those on flavor and steps."""
    result = trt(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    before = r"TensorRT.*, for [\d., ]+|[a-z0-9 ]+: \d+\.\d s"
    lines = [line for line in result.stderr.splitlines() if not re.fullmatch(before, line)]
    assert re.search(match, one_line("\n".join(lines)))


def pretend_gpu(monkeypatch: pytest.MonkeyPatch, gpu: Gpu | None) -> None:
    """Simulate a GPU of this machine."""
    cuda = FakeCuda((gpu,) if gpu else ())
    monkeypatch.setattr(dsunet_runtime.cuda, "find", lambda: cuda)


def has_gpu() -> bool:
    """Return whether CUDA finds a GPU on this machine."""
    with contextlib.suppress(BackendError):
        return bool(local_gpu())
    return False


def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use TensorRT for RTX as both flavors."""
    rtx = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    monkeypatch.setitem(sys.modules, "tensorrt", rtx)
