"""Outliers that ruin one matmul in 8 bits, planted where they leave float32 as it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import numpy_helper

from dsunet_export.options import ExportPrecision
from dsunet_export.probes import GraphInputs, Probe
from dsunet_export.quantization.quantize import QuantizationOptions
from dsunet_export.quantization.quantize import quantize as quantize_graph
from dsunet_runtime import read_manifest
from tests.export.helpers import graph_of
from tests.runtime import artifacts

Array = NDArray[Any]
Outlier = Callable[[Array, Array, Array], None]
"""Changes gain and bias of a normalisation, and the weight K×N of the matmul that reads it."""

NORM, MATMUL = "hiera.trunk.blocks.2.norm2", "hiera.trunk.blocks.2.mlp.layers.0"
"""Modules with such a normalisation and matmul."""


def in_weight(gain: Array, bias: Array, weight: Array) -> None:
    """A channel is always zero, and its weights are a million times as large as the others.

    They take all steps of their columns.
    """
    gain[0] = bias[0] = 0
    weight[0] = 1e6 * np.abs(weight).max()


def in_activation(gain: Array, bias: Array, weight: Array) -> None:
    """A channel is 1024 times as large, and its weights as much smaller.

    It takes all steps, and is most of the RMS, to which the exporter compares rounding noise.
    """
    gain[0] *= 1024
    bias[0] *= 1024
    weight[0] /= 1024


def plant(source: Path, path: Path, outlier: Outlier) -> Path:
    """The float32 artifact with an outlier."""
    model = onnx.load(source)
    plant_in(model, outlier)
    return artifacts.write(path, model, read_manifest(source))


def plant_in(model: onnx.ModelProto, outlier: Outlier) -> None:
    weights = {weight.name: weight for weight in model.graph.initializer}
    found = [weights[f"{NORM}.weight"], weights[f"{NORM}.bias"], weights[f"{MATMUL}.weight.T"]]
    arrays = [numpy_helper.to_array(one).copy() for one in found]
    outlier(*arrays)
    for one, array in zip(found, arrays, strict=True):
        one.CopyFrom(numpy_helper.from_array(array, one.name))


def quantize(
    source: Path, path: Path, images: Sequence[Probe], precision: str, *patterns: str
) -> Path:
    """Quantise a float32 artifact without verifying it."""
    manifest = read_manifest(source)
    task = QuantizationOptions(ExportPrecision(precision), patterns, images)
    model, quantized, _ = quantize_graph(
        graph_of(source), task, GraphInputs.of(manifest), path.parent
    )
    manifest = replace(manifest, precision=quantized, verification=())
    return artifacts.write(path, ir.to_proto(model), manifest)
