"""The host path and the device path, and PyTorch beside them in one process."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import dsunet_runtime
from dsunet_runtime import DeviceTensor, Segmenter
from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.cuda import Device
from tests.runtime import artifacts
from tests.runtime.test_segmenter import random_image

pytestmark = pytest.mark.gpu


def assert_masks(images: list[NDArray[np.uint8]], masks: list[NDArray[np.uint8]]) -> None:
    for image, mask in zip(images, masks, strict=True):
        np.testing.assert_array_equal(mask, artifacts.expected_frames_mask(image))


def torch_with_cuda() -> Any:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA that works here")
    return torch


class TestHostPath:
    def test_agrees_with_onnx_runtime(self, engine: Path, segmenter: Segmenter) -> None:
        images = [random_image(*[(5, 7), (64, 64), (33, 9)][i % 3], seed=i) for i in range(30)]
        with dsunet_runtime.load(engine.with_suffix(".onnx")) as reference:
            for mask, expected in zip(
                segmenter.batch(images), reference.batch(images), strict=True
            ):
                np.testing.assert_array_equal(mask, expected)  # sums of eighths are exact

    def test_repeated_shapes(self, segmenter: Segmenter) -> None:
        """Recorded as a graph after the first."""
        for height in (16, 32, 16):
            for seed in range(6):
                image = random_image(height, 16, seed)
                assert_masks([image], [segmenter(image)])

    def test_from_many_threads(self, segmenter: Segmenter) -> None:
        groups = [[random_image(9, 9, 10 * g + i) for i in range(9)] for g in range(24)]
        with ThreadPoolExecutor(6) as pool:
            for images, masks in zip(groups, pool.map(segmenter.batch, groups), strict=True):
                assert_masks(images, masks)

    def test_runtime_cache(self, engine: Path, segmenter: Segmenter) -> None:
        assert segmenter.manifest.engine is not None
        if segmenter.manifest.engine.flavor is not Flavor.RTX:
            pytest.skip("the classic TensorRT compiles nothing at run time")
        segmenter(random_image(8, 8))
        segmenter.close()
        (file,) = engine.parent.glob("*.cache")
        assert file.stat().st_size > 0
        with dsunet_runtime.load(engine) as again:
            image = random_image(8, 8)
            assert_masks([image], [again(image)])


class TestDevicePath:
    def test_raw_pointers(self, segmenter: Segmenter, device: Device) -> None:
        images = np.stack([random_image(32, 32, seed) for seed in range(2)])
        shapes = {"image": images.shape, "mask": images.shape[:3]}
        with (
            device.stream() as stream,
            device.allocate(images.nbytes) as source,
            device.allocate(images.nbytes // 3) as target,
            device.pin(images.nbytes) as host,
            device.pin(images.nbytes // 3) as result,
        ):
            host.array[:] = images.reshape(-1)
            device.to_device(source.pointer, host.array, stream)
            segmenter.run_device(
                {"image": DeviceTensor(source.pointer, shapes["image"], "uint8")},
                {"mask": DeviceTensor(target.pointer, shapes["mask"], "uint8")},
                stream=stream,
            )
            device.to_host(result.array, target.pointer, stream)
            stream.synchronize()
            masks = result.array.reshape(shapes["mask"]).copy()
        np.testing.assert_array_equal(masks, artifacts.expected_frames_mask(images))

    @pytest.mark.parametrize("own_stream", [False, True])
    @pytest.mark.parametrize("dlpack", [False, True])
    def test_pytorch(self, segmenter: Segmenter, own_stream: bool, dlpack: bool) -> None:
        torch = torch_with_cuda()

        class OnlyDlpack:
            def __init__(self, tensor: Any) -> None:
                self.__dlpack__ = tensor.__dlpack__
                self.__dlpack_device__ = tensor.__dlpack_device__

        wrap = OnlyDlpack if dlpack else (lambda tensor: tensor)
        stream = torch.cuda.Stream() if own_stream else torch.cuda.current_stream()
        with torch.cuda.stream(stream):
            for seed in range(20):
                images = np.stack([random_image(32, 32, 2 * seed + i) for i in range(2)])
                image = torch.from_numpy(images).pin_memory().cuda(non_blocking=True)
                mask = torch.empty(images.shape[:3], dtype=torch.uint8, device="cuda")
                segmenter.run_device({"image": wrap(image)}, {"mask": wrap(mask)}, stream=stream)
                found = mask.cpu().numpy()
                np.testing.assert_array_equal(found, artifacts.expected_frames_mask(images))


class TestTogetherWithPyTorch:
    @pytest.mark.parametrize("pytorch_first", [False, True])
    def test_both_go_on_working(self, engine: Path, pytorch_first: bool) -> None:
        torch_with_cuda()
        code = f"""
import numpy, torch, dsunet_runtime
def pytorch():
    ones = torch.ones(64, 64, device="cuda")
    assert (ones @ ones == 64).all()
if {pytorch_first}: pytorch()
segmenter = dsunet_runtime.load({str(engine)!r})
image = numpy.full((8, 8, 3), 200, numpy.uint8)
for _ in range(3):
    assert (segmenter(image) == 200).all()
    pytorch()
segmenter.close()
pytorch()
"""
        subprocess.run([sys.executable, "-c", code], check=True)
