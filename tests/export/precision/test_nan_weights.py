"""A NaN among a network's weights, after the verification, is detected when the artifact runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import dsunet_runtime
from dsunet_runtime import BackendError, read_manifest
from tests.runtime import artifacts


@pytest.mark.parametrize("module", ["hiera.", "dino.", "rfb.", "heads."])
def test_is_noticed(frames: Path, tmp_path: Path, module: str) -> None:
    model = onnx.load(frames)
    node = next(n for n in model.graph.node if n.name.startswith(module) and n.op_type == "Conv")
    weight = next(i for i in model.graph.initializer if i.name == node.input[1])
    values = numpy_helper.to_array(weight).copy()
    values.flat[values.size // 2] = np.nan
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    path = artifacts.write(tmp_path / "nan.onnx", model, read_manifest(frames))
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    with (
        dsunet_runtime.load(path) as segmenter,
        pytest.raises(BackendError, match="computes NaN or infinity"),
    ):
        segmenter(image)


def test_uniform_images_and_single_pixels_have_masks(frames: Path) -> None:
    for level in (0, 128, 255):
        for size in ((60, 80), (1, 1)):
            with dsunet_runtime.load(frames) as segmenter:
                assert segmenter(np.full((*size, 3), level, np.uint8)).shape == size
