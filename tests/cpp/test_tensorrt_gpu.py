"""Engines in C++ on a real GPU, with the real libraries; nothing here runs without them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import dsunet_runtime
from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.artifact.manifest_file import read_manifest
from dsunet_runtime.backends.tensorrt.compatibility import engine_of
from dsunet_runtime.cuda import Cuda
from tests.cpp.c_interface import BGR, RGB, CallError, Frame, Library, Mask, Segmenter
from tests.cpp.engine_cases import LAYOUTS, Layout, check, enqueue, images
from tests.runtime import artifacts, engine_builds
from tests.runtime.gpu.conftest import cuda, flavor

__all__ = ["cuda", "flavor"]

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def torch(cuda: Cuda) -> Any:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA that works here")
    return torch


@pytest.fixture(scope="module")
def engine(flavor: Flavor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An engine of the arithmetic in `artifacts.py` for the first GPU."""
    return engine_builds.small_engine(
        tmp_path_factory.mktemp(flavor.value), "--flavor", flavor.value
    )


@pytest.fixture(scope="module")
def segmenter(build: Path, engine: Path) -> Iterator[Segmenter]:
    """The engine in C++, where the backend was built with the headers of its flavor."""
    flavor = engine_of(read_manifest(engine)).flavor
    specification = importlib.util.find_spec(f"{flavor.module}_libs")
    folder = Path(specification.origin or "").parent if specification else Path()
    stem = "libtensorrt_rtx.so" if flavor is Flavor.RTX else "libnvinfer.so"
    library = next(folder.glob(f"{stem}.*"), None) if specification else None
    try:
        opened = Library(build / "libdsunet_runtime.so").open(engine, library=library)
    except CallError as error:
        if "headers of" in str(error):
            pytest.skip(str(error))
        raise
    with opened as segmenter:
        yield segmenter


def test_masks_are_those_of_python(segmenter: Segmenter, engine: Path) -> None:
    given = images((5, 7), (64, 64), (33, 9), (5, 7), (64, 64), (5, 7))
    check(segmenter, given)
    with dsunet_runtime.load(engine) as python:
        for found, expected in zip(segmenter(*given), python.batch(given), strict=True):
            assert np.array_equal(found, expected)


@pytest.mark.parametrize("is_default", [False, True])
@pytest.mark.parametrize("form", [RGB, BGR])
def test_frames_of_pytorch(segmenter: Segmenter, torch: Any, form: int, is_default: bool) -> None:
    stream = torch.cuda.default_stream() if is_default else torch.cuda.Stream()
    given = np.stack(images((40, 60), (40, 60)))
    with torch.cuda.stream(stream):
        for _ in range(3):
            frames = torch.from_numpy(given).cuda(non_blocking=True).contiguous()
            masks = torch.zeros(2, 40, 60, dtype=torch.uint8, device="cuda")
            enqueue(
                segmenter,
                [Frame(data=f.data_ptr(), width=60, height=40, format=form) for f in frames],
                [Mask(data=mask.data_ptr()) for mask in masks],
                stream.cuda_stream,
            )
            found = masks.cpu().numpy()
            colours = given[..., ::-1] if form == BGR else given
            assert np.array_equal(found, artifacts.expected_frames_mask(colours))


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: str(LAYOUTS.index(layout)))
def test_frames_of_every_layout(segmenter: Segmenter, torch: Any, layout: Layout) -> None:
    """The kernels on the GPU write what the conversion on the host does."""
    content: NDArray[np.uint8] = np.random.default_rng(5).integers(0, 256, layout.size, np.uint8)
    expected = np.full(layout.mask_size, 7, np.uint8)
    segmenter.segment([layout.frame(content.ctypes.data)], [layout.mask(expected.ctypes.data)])
    frame = torch.from_numpy(content).cuda()
    mask = torch.full((layout.mask_size,), 7, dtype=torch.uint8, device="cuda")
    stream = torch.cuda.current_stream().cuda_stream
    enqueue(segmenter, [layout.frame(frame.data_ptr())], [layout.mask(mask.data_ptr())], stream)
    assert np.array_equal(mask.cpu().numpy(), expected)
