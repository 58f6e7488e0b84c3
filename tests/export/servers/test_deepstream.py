"""The files for DeepStream's nvinfer: the keys that it knows, and the masks of the graph."""

from __future__ import annotations

import configparser
import errno
import os
import runpy
import shlex
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from dsunet_export.cli import app
from dsunet_runtime import load, read_manifest
from dsunet_runtime.artifact.manifest import Precision, Quantization
from tests.export.helpers import convert, one_line, random_frames, session, weights_beside
from tests.export.servers.helpers import renamed
from tests.pages.commands import ROOT
from tests.runtime import artifacts, engines

KEYS = {
    "gie-unique-id": int, "process-mode": int, "interval": int, "labelfile-path": str,
    "gpu-id": int, "secondary-reinfer-interval": int, "output-tensor-meta": bool,
    "enable-dla": bool, "use-dla-core": int, "batch-size": int, "tensor-meta-pool-size": int,
    "network-mode": int,
    "model-engine-file": str, "int8-calib-file": str, "workspace-size": int,
    "output-blob-names": str, "is-classifier": bool, "network-type": int,
    "force-implicit-batch-dim": bool, "infer-dims": list, "output-io-formats": str,
    "layer-device-precision": str, "model-color-format": int, "net-scale-factor": float,
    "offsets": list, "mean-file": str, "maintain-aspect-ratio": bool, "symmetric-padding": bool,
    "scaling-filter": int, "scaling-compute-hw": int, "network-input-order": int,
    "input-tensor-from-meta": bool, "custom-lib-path": str, "parse-bbox-func-name": str,
    "parse-bbox-instance-mask-func-name": str, "engine-create-func-name": str,
    "parse-classifier-func-name": str, "custom-network-config": str, "onnx-file": str,
    "num-detected-classes": int, "enable-dbscan": bool, "cluster-mode": int,
    "classifier-type": str, "classifier-threshold": float, "classifier-async-mode": bool,
    "segmentation-threshold": float, "segmentation-output-order": int,
    "output-instance-mask": bool, "operate-on-gie-id": int, "operate-on-class-ids": list,
    "filter-out-class-ids": list,
}  # fmt: skip
"""Keys of the group `property` with the types of their values, from the table of
https://docs.nvidia.com/metropolis/deepstream/dev-guide/text/DS_plugin_gst-nvinfer.html and
gstnvinfer_property_parser.h of DeepStream 6.0, which later versions extend."""

WEIGHTS = np.float32([0.5, -1, 2])


def deepstream(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["deepstream", *map(str, arguments)])


def written(*arguments: object) -> list[Path]:
    result = deepstream(*arguments)
    assert result.exit_code == 0, result.output
    return [Path(line) for line in result.stdout.splitlines()]


def refused(*arguments: object, code: int = 1) -> str:
    result = deepstream(*arguments)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    return one_line(result.stderr)


def properties(path: Path) -> dict[str, Any]:
    """The values of a configuration, parsed as GLib does, of keys that nvinfer knows."""
    parser = configparser.ConfigParser(
        delimiters="=", comment_prefixes="#", interpolation=None, strict=True
    )
    parser.read_string(path.read_text("utf-8"))
    assert parser.sections() == ["property"]
    kinds = {list: lambda text: [float(part) for part in text.split(";")], bool: _boolean}
    return {
        key: kinds.get(KEYS[key], KEYS[key])(value) for key, value in parser["property"].items()
    }


def _boolean(text: str) -> bool:
    return {"0": False, "1": True}[text]


def nvinfer(folder: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What nvinfer computes for images N×H×W×3 of the size of the network: the output."""
    found = properties(next(folder.glob("config_infer_*.txt")))
    channels = {0: [0, 1, 2], 1: [2, 1, 0]}[found["model-color-format"]]
    pixels = images[..., channels].astype(np.float32)
    values = np.float32(found["net-scale-factor"]) * (pixels - np.float32(found["offsets"]))
    if found["network-input-order"] == 0:
        values = values.transpose(0, 3, 1, 2)
    assert list(values.shape[1:]) == found["infer-dims"]
    opened = session(folder / found["onnx-file"])
    (image,) = opened.get_inputs()
    assert image.type == "tensor(float)"  # nvinfer writes float32
    (output,) = opened.run([found["output-blob-names"]], {image.name: values})
    assert output.dtype == np.float32
    return output


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    return artifacts.stretching(tmp_path / "a.onnx", WEIGHTS)


def test_masks_of_a_real_artifact(trained: Path, tmp_path: Path) -> None:
    graph, config = written(trained, "--size", "61x83", "-o", tmp_path / "config")
    assert (graph.name, config.name) == ("nano_nvinfer.onnx", "config_infer_nano.txt")
    onnx.checker.check_model(onnx.load(graph), full_check=True)
    images = random_frames(2, 61, 83)
    output = np.concatenate([nvinfer(config.parent, image[None]) for image in images])
    with load(trained) as segmenter:
        masks = np.stack([segmenter(image) for image in images])
    assert np.array_equal(np.rint(255 * output), masks[:, None])
    # The class of nvinfer's segmentation: the only one, where its value is above the threshold.
    inside = output[:, 0] > properties(config)["segmentation-threshold"]
    assert np.array_equal(inside, masks >= 128)


def test_the_parser_of_tensorrt_takes_the_graph(trained: Path, tmp_path: Path) -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    graph, _ = written(trained, "--size", "61x83", "-o", tmp_path / "config")
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, trt.Logger(trt.Logger.ERROR))
    assert parser.parse_from_file(str(graph)), parser.get_error(0)
    image, mask = network.get_input(0), network.get_output(0)
    assert (image.name, tuple(image.shape)) == ("image", (-1, 3, 61, 83))
    assert (mask.name, tuple(mask.shape)) == ("mask", (-1, 1, 61, 83))
    assert {image.dtype, mask.dtype} == {trt.float32}


def test_configuration(artifact: Path, tmp_path: Path) -> None:
    _, config = written(artifact, "--size", "8x12", "--batch", 4, "-o", tmp_path / "c")
    found = properties(config)
    expected = {
        "onnx-file": "a_nvinfer.onnx",
        "model-engine-file": "a_nvinfer.onnx_b4_gpu0_fp32.engine",
        "batch-size": 4,
        "network-mode": 0,
        "network-type": 2,
        "output-tensor-meta": True,
        "output-blob-names": "mask",
        "infer-dims": [3, 8, 12],
        "process-mode": 1,
    }
    assert expected.items() <= found.items()
    introduction = [line[2:] for line in config.read_text().splitlines() if line.startswith("# ")]
    pipeline = next(line for line in introduction if line.startswith("gst-launch-1.0"))
    elements = [shlex.split(part)[0] for part in pipeline.removeprefix("gst-launch-1.0").split("!")]
    assert elements[2:4] == ["nvinfer", "nvsegvisual"]
    assert "width=12 height=8" in pipeline
    assert f"config-file-path={config.name}" in pipeline
    build = next(line for line in introduction if line.startswith("trtexec "))
    assert f"--saveEngine={found['model-engine-file']}" in build
    shapes = ["image:1x3x8x12", "image:4x3x8x12", "image:4x3x8x12"]
    assert [part.split("=")[1] for part in build.split() if "Shapes" in part] == shapes
    assert pipeline.count("batch-size=1 ") == 2  # one clip


def test_in_float16(artifact: Path, trained: Path, tmp_path: Path) -> None:
    convert(trained, tmp_path / "b.onnx")
    _, config = written(tmp_path / "b.onnx", "--size", "32x48", "-o", tmp_path / "c")
    found = properties(config)
    assert found["network-mode"] == 2
    assert found["model-engine-file"].endswith("_fp16.engine")
    images = random_frames(1, 32, 48)
    with load(tmp_path / "b.onnx") as segmenter:
        mask = segmenter(images[0])
    assert np.array_equal(np.rint(255 * nvinfer(tmp_path / "c", images))[0, 0], mask)


def test_of_one_size(tmp_path: Path) -> None:
    artifacts.stretching(tmp_path / "a.onnx", WEIGHTS, batch=3, height=8, width=12)
    _, config = written(tmp_path / "a.onnx", "-o", tmp_path)  # beside the artifact
    assert properties(config)["batch-size"] == 3
    (build,) = [line for line in config.read_text().splitlines() if "trtexec --onnx" in line]
    assert "Shapes" not in build  # trtexec refuses them: "Static model does not take explicit"
    assert nvinfer(tmp_path, random_frames(3, 8, 12)).shape == (3, 1, 8, 12)
    line = refused(tmp_path / "a.onnx", "-o", tmp_path / "c", "--size", "9x12")
    assert "takes images of 8x12 only: omit --size" in line
    line = refused(tmp_path / "a.onnx", "-o", tmp_path / "c", "--batch", 2)
    assert "takes batches of 3 only: omit --batch" in line


def test_weights_in_another_file(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    artifact = weights_beside(trained, tmp_path / "a/nano.onnx")
    written(artifact, "--size", "32x48", "-o", tmp_path / "c")
    assert {path.name for path in (tmp_path / "c").iterdir()} == {
        "nano_nvinfer.onnx",
        "config_infer_nano.txt",
    }


@pytest.mark.parametrize(
    ("precision", "name"),
    [
        (Precision("bfloat16"), "bfloat16"),
        (Precision(quantized=Quantization("int8", 1, 1, 1, 1, 0.1)), "int8"),
    ],
)
def test_precisions(precision: Precision, name: str, artifact: Path, tmp_path: Path) -> None:
    path = renamed(artifact, tmp_path / "b.onnx", precision=precision)
    line = refused(path, "--size", "8x8", "-o", tmp_path / "c")
    assert f"nvinfer builds no engines in {name}: export it with --precision fp32 or fp16" in line


def test_other_artifacts(tmp_path: Path) -> None:
    line = refused(artifacts.tensors(tmp_path / "a.onnx"), "-o", tmp_path / "c")
    assert "export it with --input frames" in line
    line = refused(engines.frames(tmp_path / "b.engine"), "-o", tmp_path / "c")
    assert "name the ONNX file that it was built from" in line


def test_other_masks(tmp_path: Path) -> None:
    """The levels of this graph are above 255, which wraps around in 8 bits."""
    artifact = artifacts.frames(tmp_path / "a.onnx", weights=np.float32([1, 1, 1]))
    line = refused(artifact, "--size", "8x12", "-o", tmp_path / "c")
    assert "the graph for nvinfer computes other masks, by up to 512 of 255 levels" in line
    assert [*(tmp_path / "c").iterdir()] == []


@pytest.mark.parametrize(
    ("options", "code", "match"),
    [
        ("", 1, "give --size HEIGHTxWIDTH, for example 720x1280"),
        ("--size 8", 2, "give HEIGHTxWIDTH"),
        ("--size 8x8:9x9:10x10", 2, "for example 720x1280"),
        ("--size 0x8", 2, "give HEIGHTxWIDTH"),
        ("--size 8x8 --name käfer", 2, "choose another with --name"),
        ("--size 8x8 --name ../a", 2, "choose another with --name"),
    ],
)
def test_options(options: str, code: int, match: str, artifact: Path, tmp_path: Path) -> None:
    assert match in refused(artifact, "-o", tmp_path / "c", *options.split(), code=code)
    assert not (tmp_path / "c").exists()


def test_existing_files(artifact: Path, tmp_path: Path) -> None:
    _, config = written(artifact, "--size", "8x8", "-o", tmp_path / "c")
    config.write_text("edited")
    assert "exists: choose another --name" in refused(
        artifact, "--size", "8x8", "-o", tmp_path / "c"
    )
    assert config.read_text() == "edited"
    written(artifact, "--size", "8x8", "-o", tmp_path / "c", "--name", "b")


def test_damaged_artifact(artifact: Path, tmp_path: Path) -> None:
    content = bytearray(artifact.read_bytes())
    content[40] ^= 1
    artifact.write_bytes(content)
    assert f"{artifact}: damaged" in refused(artifact, "--size", "8x8", "-o", tmp_path / "c")


def test_full_disk(artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c").mkdir()

    def full(path: Path, *arguments: object, **options: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_text", full)
    line = refused(artifact, "--size", "8x8", "-o", tmp_path / "c")
    assert "No space left on device" in line
    assert os.listdir(tmp_path / "c") == []  # noqa: PTH208


def test_the_probe_reads_the_mask(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The arithmetic of examples/deepstream_masks.py, with stand-ins for DeepStream's bindings."""
    written(artifact, "--size", "8x12", "-o", tmp_path)
    images = random_frames(1, 8, 12)
    output = np.ascontiguousarray(nvinfer(tmp_path, images)[0])
    pyds = types.SimpleNamespace(get_ptr=lambda buffer: buffer.ctypes.data)
    gi = types.ModuleType("gi")
    gi.require_version = lambda name, version: None  # type: ignore[attr-defined]
    repository = types.ModuleType("gi.repository")
    repository.Gst = None  # type: ignore[attr-defined]
    for name, module in (("pyds", pyds), ("gi", gi), ("gi.repository", repository)):
        monkeypatch.setitem(sys.modules, name, module)  # type: ignore[arg-type]
    example = runpy.run_path(str(ROOT / "examples/deepstream_masks.py"))
    dimensions = types.SimpleNamespace(d=[1, 8, 12])
    layer = types.SimpleNamespace(inferDims=dimensions, buffer=output)
    with load(artifact) as segmenter:
        assert np.array_equal(example["mask_of"](layer), segmenter(images[0]))


def test_the_graph_says_what_it_is(artifact: Path, tmp_path: Path) -> None:
    graph, _ = written(artifact, "--size", "8x12", "-o", tmp_path / "c")
    found = {entry.key: entry.value for entry in onnx.load(graph).metadata_props}
    assert found["inputs"] == "image, float32, batch×3×8×12 (NCHW), RGB, integers of 0 to 255"
    assert found["weights"].startswith(read_manifest(artifact).weights_origin)
    assert "dsunet_manifest" not in found
