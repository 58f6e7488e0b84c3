"""A whole network on the GPU, by each way there is, against ONNX Runtime on the CPU."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import dsunet_runtime
from dsunet_runtime import BackendError
from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.backends.onnxruntime.backend import check_provider
from dsunet_runtime.images.decode import as_rgb
from dsunet_runtime.provider import Provider
from tests.runtime import engine_builds
from tests.runtime.test_segmenter import random_image

pytestmark = pytest.mark.gpu

PHOTOGRAPH = Path(__file__).parents[3] / "assets/astronaut.jpg"
MOST, MEAN = 10, 1.0
"""Levels of 255 by which masks may differ.  Rounding every tensor of this graph to float16 moves
them by 2 at most and 0.2 on average, as its manifest says, and a GPU rounds in other places.  A
layer that is wrong moves them by tens."""


@pytest.fixture(scope="module")
def images() -> list[NDArray[np.uint8]]:
    return [as_rgb(PHOTOGRAPH), random_image(300, 451), random_image(64, 64)]


@pytest.fixture(scope="module")
def expected(nano_graph: Path, images: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    with dsunet_runtime.load(nano_graph) as reference:
        return reference.batch(images)


def assert_close(found: list[NDArray[np.uint8]], expected: list[NDArray[np.uint8]]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert other.std() > 20, "a mask with nothing on it proves nothing"
        difference = np.abs(one.astype(int) - other)
        assert difference.max() <= MOST
        assert difference.mean() <= MEAN


def masks(path: Path, images: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    with dsunet_runtime.load(path) as segmenter:
        return segmenter.batch(images)


def test_engine(
    nano: Path, images: list[NDArray[np.uint8]], expected: list[NDArray[np.uint8]]
) -> None:
    assert_close(masks(nano, images), expected)


def test_stripped_engine(
    flavor: Flavor, nano: Path, nano_graph: Path, images: list[NDArray[np.uint8]]
) -> None:
    stripped = nano.with_name(f"{flavor.value}-stripped.engine")
    options = ("--flavor", flavor.value, "--strip-weights")
    engine_builds.export("trt", nano_graph, "-o", stripped, *options)
    assert stripped.stat().st_size < nano.stat().st_size
    assert_close(masks(stripped, images), masks(nano, images))


@pytest.mark.parametrize("provider", [Provider.CUDA, Provider.TENSORRT, Provider.RTX])
def test_provider_of_onnx_runtime(
    provider: Provider,
    tmp_path: Path,
    nano_graph: Path,
    images: list[NDArray[np.uint8]],
    expected: list[NDArray[np.uint8]],
) -> None:
    try:
        check_provider(provider)
    except BackendError as error:
        pytest.skip(str(error))
    graph = Path(shutil.copy(nano_graph, tmp_path))
    for _ in range(2):  # it builds, and then loads what it has built
        with dsunet_runtime.load(graph, provider=provider) as segmenter:
            assert_close(segmenter.batch(images), expected)
    if provider is not Provider.CUDA:  # which compiles nothing
        (folder,) = tmp_path.glob(f"*.{provider}")
        assert list(folder.iterdir())
