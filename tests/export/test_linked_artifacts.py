"""Artifacts that are links: download caches, and weights on another disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import dsunet.cli
import dsunet_export.cli
import dsunet_runtime.cli
from dsunet_export import artifact
from dsunet_export.convert_artifact import convert_artifact
from dsunet_runtime import read_manifest
from dsunet_runtime.artifact.compute import Compute
from dsunet_runtime.bench.roofline.ort_profile import count_graph, profile_onnx
from tests.export.engines import ADA, SMALL
from tests.export.helpers import random_frames, weights_beside


def cache(folder: Path, source: Path, data: Path) -> Path:
    """As Hugging Face keeps downloads: both are links to files that are named after their hash."""
    blobs, revision = folder / "blobs", folder / "snapshots" / "main"
    blobs.mkdir()
    revision.mkdir(parents=True)
    for file, blob in ((source, "aaaa"), (data, "bbbb")):
        (blobs / blob).write_bytes(file.read_bytes())
        (revision / file.name).symlink_to(Path("../../blobs") / blob)
    return revision / source.name


def other_disk(folder: Path, source: Path, data: Path) -> Path:
    """The weights alone are a link, to another folder."""
    (folder / "disk").mkdir()
    (folder / "disk" / "weights").write_bytes(data.read_bytes())
    (folder / source.name).write_bytes(source.read_bytes())
    (folder / data.name).symlink_to(folder / "disk" / "weights")
    return folder / source.name


def two_places(folder: Path, source: Path, data: Path) -> Path:
    """Both are links, to two folders."""
    for file in (source, data):
        place = folder / file.name.replace(".", "-")
        place.mkdir()
        (place / file.name).write_bytes(file.read_bytes())
        (folder / file.name).symlink_to(place / file.name)
    return folder / source.name


def hard(folder: Path, source: Path, data: Path) -> Path:
    """Both files are hard links."""
    for file in (source, data):
        (folder / f"other-{file.name}").write_bytes(file.read_bytes())
        os.link(folder / f"other-{file.name}", folder / file.name)
    return folder / source.name


def linked_folder(folder: Path, source: Path, data: Path) -> Path:
    """The folder they are in is a link."""
    (folder / "link").symlink_to(source.parent)
    return folder / "link" / source.name


LAYOUTS = [cache, other_disk, two_places, hard, linked_folder]


Layout = Callable[[Path, Path, Path], Path]


@pytest.fixture(scope="module", params=LAYOUTS, ids=lambda layout: layout.__name__)
def layout(request: pytest.FixtureRequest) -> Layout:
    layout: Layout = request.param
    return layout


@pytest.fixture(scope="module")
def linked(layout: Layout, frames_beside: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("linked")
    return layout(folder, frames_beside, artifact.weights_file(frames_beside))


@pytest.fixture(scope="module")
def half(frames_beside: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("half") / "half.onnx"
    manifest = read_manifest(frames_beside)
    convert_artifact(frames_beside, output, manifest, Compute.FP16, lambda step, seconds: None)
    return output


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    for name in ("Image", "Mask"):
        (folder / name).mkdir()
    Image.fromarray(random_frames(1, 64, 64)[0]).save(folder / "Image" / "a.png")
    mask = np.zeros((64, 64), np.uint8)
    mask[16:48, 16:48] = 255
    Image.fromarray(mask).save(folder / "Mask" / "a.png")
    return folder


def invoke(app: object, *arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])  # type: ignore[arg-type]
    assert result.exit_code == 0, result.output
    return result


def test_predict(linked: Path, dataset: Path, frames: Path, tmp_path: Path) -> None:
    masks = []
    for path in (linked, frames):
        output = tmp_path / path.parent.name
        invoke(dsunet_runtime.cli.app, "predict", path, dataset / "Image", "-o", output)
        (mask,) = output.iterdir()
        masks.append(mask.read_bytes())
    assert masks[0] == masks[1]


def test_inspect(linked: Path) -> None:
    printed = invoke(dsunet_export.cli.app, "inspect", linked).stdout
    assert "nano.onnx.data, 7." in printed


def test_verify(linked: Path, half: Path, dataset: Path, tmp_path: Path) -> None:
    images = ("--images", dataset / "Image", "--tolerance", 255)
    more = ("--layers", "--bisect", tmp_path / "keep.txt")
    result = invoke(dsunet_export.cli.app, "verify", linked, half, *images, *more)
    assert "first layer with an unusually large error" in result.stdout
    assert "no further layer has to stay in float32" in result.stderr


def test_evaluate(linked: Path, dataset: Path, tmp_path: Path) -> None:
    invoke(dsunet.cli.app, "evaluate", linked, "--dataset", f"one={dataset}", "-o", tmp_path / "r")


def test_roofline(layout: Layout, float32: Path, tmp_path: Path) -> None:
    """What `bench --roofline` profiles, of an artifact or of the one beside an engine."""
    linked = linked_small(layout, float32, tmp_path)
    inputs = {"image": random_frames(1, 64, 64)}
    manifest = read_manifest(linked)
    assert profile_onnx(linked, manifest, inputs, 1).layers
    assert sum(count_graph(linked, manifest, inputs).values()) > 0


def test_trt(layout: Layout, float16: Path, tmp_path: Path) -> None:
    """TensorRT reads such a graph itself."""
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    small = linked_small(layout, float16, tmp_path)
    invoke(dsunet_export.cli.app, "trt", small, *ADA, *SMALL, "-o", tmp_path / "x.engine")


def linked_small(layout: Layout, source: Path, folder: Path) -> Path:
    """A small artifact, with its weights in a second file, in a layout."""
    plain = folder / "plain"
    plain.mkdir()
    whole = weights_beside(source, plain / "small.onnx")
    return layout(folder, whole, artifact.weights_file(whole))


def test_conversion(linked: Path, tmp_path: Path) -> None:
    """As `trt` converts a float32 graph."""
    manifest = read_manifest(linked)
    output = tmp_path / "half.onnx"
    convert_artifact(linked, output, manifest, Compute.FP16, lambda step, seconds: None)
    assert output.stat().st_size > 3_000_000
