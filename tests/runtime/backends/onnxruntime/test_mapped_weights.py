"""Artifacts that share a file of weights compute with the file where it is mapped."""

from __future__ import annotations

import dataclasses
import multiprocessing
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from dsunet_runtime import BackendError, load, read_manifest
from dsunet_runtime.artifact.file_digest import digest
from dsunet_runtime.artifact.manifest import Precision
from tests.runtime import artifacts

WIDE, SIZE = 2048, 2048 * 4096 * 4
ROLLUP = Path("/proc/self/smaps_rollup")


def wide(path: Path) -> Path:
    """Like `artifacts.frames`, through larger matrices, up to 34 MB, in a second file."""
    largest = np.zeros((WIDE, 2 * WIDE), np.float32)
    largest[0, 0] = 1
    first, last = np.zeros((3, WIDE), np.float32), np.zeros(2 * WIDE, np.float32)
    first[:, 0], last[0] = artifacts.FRAMES_WEIGHTS, 1
    model = onnx.load(artifacts.frames(path))
    manifest = read_manifest(path)
    nodes = [
        helper.make_node("Cast", ["image"], ["0"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["0", "first"], ["1"]),
        helper.make_node("MatMul", ["1", "largest"], ["2"]),
        helper.make_node("MatMul", ["2", "last"], ["3"]),
        helper.make_node("Cast", ["3"], ["mask"], to=TensorProto.UINT8),
    ]
    constants = {"first": first, "largest": largest, "last": last}
    del model.graph.node[:], model.graph.initializer[:], model.metadata_props[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in constants.items())
    data = path.with_name("shared.data")
    onnx.save_model(
        model, path, save_as_external_data=True, location=data.name, size_threshold=1 << 20
    )
    return artifacts.write(path, model, dataclasses.replace(manifest, files=(digest(data),)))


def two_domains(folder: Path) -> tuple[Path, Path]:
    first = wide(folder / "a.onnx")
    second = folder / "b.onnx"
    second.write_bytes(first.read_bytes())
    return first, second


def behind_a_link(folder: Path) -> tuple[Path, Path]:
    (folder / "disk").mkdir()
    paths = two_domains(folder)
    data = folder / "shared.data"
    data.rename(folder / "disk" / "data")
    data.symlink_to(folder / "disk" / "data")
    return paths


Layout = Callable[[Path], tuple[Path, Path]]


def anonymous_memory() -> int:
    """Bytes of this process that are not pages of files, which processes and mappings share."""
    (kilobytes,) = re.findall(r"^Anonymous: +(\d+) kB$", ROLLUP.read_text(), re.MULTILINE)
    return int(kilobytes) * 1024


def growth(paths: tuple[Path, Path], small: Path, mapped: bool) -> int:
    """Bytes by which this process grows when it opens both artifacts and computes with them.

    It opens a small one first, for which it imports what it needs.
    """
    image: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8)

    def open_and_compute(path: Path) -> None:
        segmenter = stack.enter_context(load(path, threads=1, mapped_weights=mapped))
        np.testing.assert_array_equal(segmenter(image), artifacts.expected_frames_mask(image))

    with ExitStack() as stack:
        open_and_compute(small)
        before = anonymous_memory()
        for path in paths:
            open_and_compute(path)
        return anonymous_memory() - before


@pytest.mark.parametrize("layout", [two_domains, behind_a_link], ids=["beside", "link"])
@pytest.mark.parametrize("mapped", [False, True])
def test_memory_of_two_domains(layout: Layout, mapped: bool, tmp_path: Path) -> None:
    """In a new process: one that has freed memory before grows less."""
    if not ROLLUP.exists():
        pytest.skip("the system does not tell what memory is made of")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as process:
        small = artifacts.frames(tmp_path / "small.onnx", external=True)
        grown = process.submit(growth, layout(tmp_path), small, mapped).result()
    if mapped:
        assert grown < SIZE / 2
    else:
        assert grown > 2 * SIZE * 0.9


def test_an_artifact_with_its_weights_inside(frames_artifact: Path) -> None:
    with pytest.raises(BackendError, match="export it with `dsunet-export onnx --shared-weights`"):
        load(frames_artifact, mapped_weights=True)


def test_an_artifact_in_16_bits(tmp_path: Path) -> None:
    """ONNX Runtime makes a float32 copy of each weight, so that nothing would be saved."""
    half = Precision(compute="float16")
    path = artifacts.frames(tmp_path / "a.onnx", external=True, precision=half)
    with pytest.raises(BackendError, match="mapped_weights has no effect on float16 weights"):
        load(path, mapped_weights=True)


@pytest.mark.parametrize("provider", ["openvino", "cuda", "rtx"])
def test_another_provider(provider: str, tmp_path: Path) -> None:
    path = artifacts.frames(tmp_path / "a.onnx", external=True)
    with pytest.raises(BackendError, match=f"for the provider 'cpu', and this is '{provider}'"):
        load(path, provider=provider, mapped_weights=True)
