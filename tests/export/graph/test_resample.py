"""Resampling in the graph against Pillow, value by value."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from dsunet_export.graph.forms import Preprocess
from dsunet_export.graph.names import PREPROCESS, is_in
from dsunet_export.graph.resample import SPLIT, block_size, resample, resampling_windows
from dsunet_export.graph.trace import trace
from dsunet_runtime.artifact.manifest import IMAGENET_MEAN, IMAGENET_STD
from dsunet_runtime.images.decode import resampled
from tests.export.helpers import session

SIZES = [
    (1, 1),
    (1, 2),
    (2, 1),
    (1, 700),
    (700, 1),
    (7, 5),
    (37, 53),
    (96, 130),  # what the graph is traced with
    (128, 1024),
    (1024, 128),
    (159, 161),
    (160, 160),
    (224, 224),
    (320, 320),  # exact multiples: ties in every weight
    (448, 640),
    (353, 517),
    (1080, 1920),
    (2160, 3840),
    (5, 9000),  # more input pixels for each output than are exact
]
SIDES = (160, 224, 352, 518)
EXACT_UP_TO = 32
"""Input pixels for each output up to which no number in float32 is rounded."""


def noise(height: int, width: int) -> NDArray[np.uint8]:
    generator = np.random.default_rng(height * 10_000 + width)
    return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height: int, width: int) -> NDArray[np.uint8]:
    """Waves of several lengths, all values from 0 to 255, and sharp edges."""
    rows, columns = np.mgrid[0:height, 0:width]
    planes = [
        127.5 + 127.5 * np.sin(rows / 17 + columns / 29),
        255 * (rows + columns) / max(1, height + width - 2),
        255.0 * ((rows // 9 + columns // 13) % 2),
    ]
    return np.stack(planes, axis=-1).round().astype(np.uint8)


def assert_like_pillow(result: NDArray[np.float32], image: NDArray[np.uint8], side: int) -> None:
    """`result` is 3×side×side; the project's contract for it."""
    expected = np.asarray(resampled(image, side)).transpose(2, 0, 1)
    assert result.dtype == np.float32
    assert result.shape == expected.shape
    np.testing.assert_array_equal(result, result.round())
    errors = np.abs(result - expected)
    assert errors.max() <= 1
    assert (errors == 0).mean() >= 0.99
    if max(image.shape) <= EXACT_UP_TO * side:
        assert not errors.any()


def as_input(image: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(image)[None].float()


@pytest.mark.parametrize("make", [noise, smooth])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_like_pillow(size: tuple[int, int], make: object) -> None:
    image = noise(*size) if make is noise else smooth(*size)
    for side in (160, 352) if max(size) > 2000 else SIDES:
        assert_like_pillow(resample(as_input(image), side)[0].numpy(), image, side)


@pytest.mark.parametrize("size", [(53, 37), (200, 333), (90, 720)])
@pytest.mark.parametrize("side", [160, 352])
def test_like_one_call_of_pillow_where_its_order_is_the_same(
    size: tuple[int, int], side: int
) -> None:
    height, width = size
    wide = noise(min(height, width), max(height, width))
    one_call = np.asarray(Image.fromarray(wide).resize((side, side), Image.Resampling.BILINEAR))
    result = resample(as_input(wide), side)[0].permute(1, 2, 0).numpy()
    errors = np.abs(result - one_call)
    assert errors.max() <= 1
    assert (errors == 0).mean() >= 0.99


def test_identity_and_flat_images() -> None:
    image = noise(160, 160)
    same = resample(as_input(image), 160)[0].permute(1, 2, 0)
    np.testing.assert_array_equal(same, image)
    for value in (0, 1, 127, 128, 255):
        flat = torch.full((1, 33, 700, 3), float(value))
        assert (resample(flat, 224) == value).all()


def test_every_image_of_a_batch_is_resampled_alone() -> None:
    images = torch.cat([as_input(noise(40, 60)), as_input(smooth(40, 60))])
    alone = torch.cat([resample(image[None], 160) for image in images])
    assert torch.equal(resample(images, 160), alone)


@pytest.mark.parametrize(("side", "block"), [(352, 16), (518, 14), (45, 15), (37, 1), (1, 1)])
def test_blocks_divide_every_side(side: int, block: int) -> None:
    assert block_size(side) == block
    image = noise(90, 131)
    assert_like_pillow(resample(as_input(image), side)[0].numpy(), image, side)


@pytest.mark.parametrize("size", [1, 2, 37, 160, 320, 4096])
def test_weights_are_pillows(size: int) -> None:
    """Those of each output sum to one in steps of 2⁻²², and both halves fit 11 bits."""
    inputs, upper, lower = resampling_windows(size, 160)
    assert inputs.min() >= 0
    assert inputs.max() < size
    whole = upper.double() * SPLIT + lower.double()
    # One step of rounding for every weight that is not zero.
    off = (whole.sum(1) - SPLIT * SPLIT).abs()
    assert (off <= (whole > 0).sum(1) / 2 + 1).all()
    for half in (upper, lower):
        assert half.min() >= 0
        assert half.max() <= SPLIT


class ToSeveralSides(nn.Module):
    """Resampling alone, as FramesGraph has it, to all sides at once."""

    def forward(self, image: Tensor) -> Tensor:
        pixels = image.float()
        return torch.cat([resample(pixels, side).flatten(2) for side in SIDES], 2)


class FramesToTensors(nn.Module):
    """What FramesGraph puts before the network."""

    def __init__(self) -> None:
        super().__init__()
        self.preprocess = Preprocess([224])

    def forward(self, image: Tensor) -> Tensor:
        (pixels,) = self.preprocess(image)
        return pixels


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> onnxruntime.InferenceSession:
    image = torch.zeros(2, 96, 130, 3, dtype=torch.uint8)
    axes = {"image": {0: "batch", 1: "height", 2: "width"}}
    path: Path = tmp_path_factory.mktemp("resampling") / "resample.onnx"
    ir.save(trace(ToSeveralSides(), {"image": image}, "pixels", axes, 20), path)
    return session(path)


@pytest.mark.parametrize("size", [(1, 1), (61, 83), (480, 480), (2160, 3840)])
def test_exported_for_one_size_like_pillow(size: tuple[int, int], tmp_path: Path) -> None:
    """Weights become constants, whatever their size; the batch may be any."""
    image = torch.zeros(2, *size, 3, dtype=torch.uint8)
    model = trace(FramesToTensors(), {"image": image}, "pixels", {"image": {0: "batch"}}, 20)
    arithmetic = {node.op_type for node in model.graph if is_in(PREPROCESS, node.name)}
    assert "Gather" in arithmetic
    assert not arithmetic & {"Range", "Mod", "Max", "ReduceSum", "Clip", "Less"}
    ir.save(model, tmp_path / "resample.onnx")
    images = [noise(*size), smooth(*size), noise(*size)][: 1 if max(size) > 2000 else 3]
    (results,) = session(tmp_path / "resample.onnx").run(None, {"image": np.stack(images)})
    mean, std = (np.reshape(v, (3, 1, 1)) for v in (IMAGENET_MEAN, IMAGENET_STD))
    for image, result in zip(images, results, strict=True):
        pixels = (255 * (result * std + mean)).round(3).astype(np.float32)
        assert_like_pillow(pixels.round(), image, 224)
        np.testing.assert_allclose(pixels, pixels.round(), atol=0.01)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_exported_with_dynamic_sizes_like_pillow(
    exported: onnxruntime.InferenceSession, size: tuple[int, int]
) -> None:
    images = [noise(*size)] if max(size) > 2000 else [noise(*size), smooth(*size)]
    (results,) = exported.run(None, {"image": np.stack(images)})
    ends = np.cumsum([side * side for side in SIDES])[:-1]
    for image, result in zip(images, results, strict=True):
        for side, part in zip(SIDES, np.split(result, ends, axis=1), strict=True):
            assert_like_pillow(part.reshape(3, side, side), image, side)
