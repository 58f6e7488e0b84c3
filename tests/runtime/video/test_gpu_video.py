"""examples/gpu_video.py: on the fake GPU, and with NVDEC where there is one."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import dsunet_runtime
from dsunet_runtime import DeviceTensor
from dsunet_runtime.artifact.flavor import Flavor
from tests.runtime import artifacts, engines
from tests.runtime.conftest import Machine
from tests.runtime.device_memory import Caller
from tests.runtime.gpu.conftest import cuda, engine, flavor
from tests.runtime.test_segmenter import random_image
from tests.runtime.video.clips import read, scene, write

__all__ = ["cuda", "engine", "flavor"]

EXAMPLE = Path(__file__).parents[3] / "examples/gpu_video.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_video", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_frames_stay_on_the_device(example: ModuleType, machine: Machine, tmp_path: Path) -> None:
    """Each batch is enqueued after it was filled, without a wait or a copy."""
    path = engines.frames(tmp_path / "a.engine", flavor=Flavor.RTX)
    contents = [
        np.stack([random_image(6, 5, 10 * batch + i) for i in range(count)])
        for batch, count in enumerate((2, 2, 1))
    ]
    with dsunet_runtime.load(path) as segmenter:
        caller = Caller(machine)

        def filled() -> Iterator[DeviceTensor]:
            for content in contents:
                frames = caller.tensor(*content.shape)
                caller.write(frames, content, caller.stream.handle)
                yield frames

        waits = caller.device.waits
        masks = list(
            example.masks_of(
                segmenter, filled(), lambda shape: caller.tensor(*shape), caller.stream.handle
            )
        )
        assert caller.device.waits == waits
        caller.wait(caller.stream.handle)
        for mask, content in zip(masks, contents, strict=True):
            expected = artifacts.expected_frames_mask(content)
            np.testing.assert_array_equal(caller.read(mask), expected)
        caller.close()


@pytest.mark.gpu
def test_with_nvdec(
    example: ModuleType, engine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("torchcodec", reason="TorchCodec, which decodes on the GPU, is missing")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA that works here")
    clip = write(tmp_path / "clip.mp4", scene(5, 144, 192))
    example.main(str(engine), str(clip))
    lines = capsys.readouterr().out.splitlines()
    expected = [(artifacts.expected_frames_mask(f) >= 128).mean() for f in read(clip).frames]
    found = [float(line.split()[2].rstrip("%")) / 100 for line in lines]
    assert found == pytest.approx(expected, abs=0.02)
