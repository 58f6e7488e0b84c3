"""Broken ONNX artifacts, by a name of the defect."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx

from dsunet_runtime import read_manifest
from dsunet_runtime.artifact.manifest import METADATA_KEY, InputForm
from dsunet_runtime.artifact.onnx_metadata import encode_metadata
from dsunet_runtime.plain_values import encode
from tests.runtime import artifacts, engines
from tests.runtime.artifact.test_broken_artifacts import (
    change_manifest,
    change_metadata,
    replace_by,
    weights_of,
)
from tests.runtime.selftests import cases_for

Make = Callable[[Path], Path]
"""Makes a broken artifact in a folder."""

CASES: dict[str, Make] = {}


def case(make: Make) -> Make:
    CASES[make.__name__] = make
    return make


FROM_ONNXRUNTIME: dict[str, Make] = {}
"""Artifacts that ONNX Runtime refuses; its Python package adds words to the message."""


def of_onnxruntime(make: Make) -> Make:
    FROM_ONNXRUNTIME[make.__name__] = make
    return make


def with_content(name: str, content: bytes) -> Make:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 5\n"
CASES |= {
    "missing": lambda folder: folder / "a.onnx",
    "missing engine": lambda folder: folder / "a.engine",
    "in a missing folder": lambda folder: folder / "b" / "a.onnx",
    "folder": lambda folder: folder,
    "long name": lambda folder: folder / ("a" * 300 + ".onnx"),
    "strange name": lambda folder: folder / "a b\x1b[2J'ü\n.onnx",
    "device": lambda _: Path("/dev/zero"),
    "empty": with_content("a.onnx", b""),
    "text": with_content("a.onnx", b"hello, this is text\n" * 50),
    "image": with_content("a.onnx", b"\x89PNG\r\n\x1a\n" * 9),
    "HTML": with_content("a.onnx", b"\xef\xbb\xbf \n<!DOCTYPE html><html>"),
    "JSON": with_content("a.onnx", b' {"a": 1}'),
    "JSON about an engine": with_content("a.engine.json", b'{"a": 1}'),
    "JSON about an ONNX file": with_content("a.onnx.json", b'{"a": 1}'),
    "Git LFS": with_content("a.onnx", LFS),
    "Git LFS, strange name": with_content("it's a.onnx", LFS),
    "safetensors": with_content("a.onnx", b"\x10" + bytes(7) + b'{"a":{}}'),
    "zip": with_content("model.pth", b"PK\x03\x04" + bytes(50)),
    "zip as an engine": with_content("model.engine", b"PK\x03\x04" + bytes(50)),
    "pickle": with_content("my model.pth", b"\x80\x02}q\x00."),
    "engine misnamed": with_content("a.onnx", b"ftrt" + bytes(60)),
    "engine without suffix": with_content("a b", b"vtrt" + bytes(60)),
    "ONNX misnamed": with_content("a.engine", b"\x08\x08\x12\x07pytorch"),
    "ONNX cut short": with_content("a.bin", b"\x08\x08\x12\x07pyto"),
    "engine without a manifest": with_content("a.engine", b"ftrt" + bytes(60)),
    "no protobuf": with_content("a.onnx", b"\x72" + b"\xff" * 8 + b"\x7f"),
    "entry that ends late": with_content("a.onnx", b"\x72\x06\x0a\xff\xff\xff\xff\x0f"),
    "strange entry": with_content("a.onnx", b"\x72\x04\x0a\x00\x18\x00"),
    "entry that is not UTF-8": with_content("a.onnx", b"\x72\x07\x0a\x01a\x12\x02\xf9\x80"),
    "many fields": with_content("a.onnx", b"\x08\x01" * 100_001),
}


@case
def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "a.onnx")
    return folder / "a.onnx"


@case
def link_to_nothing(folder: Path) -> Path:
    (folder / "a.onnx").symlink_to("b.onnx")
    return folder / "a.onnx"


@case
def link_to_itself(folder: Path) -> Path:
    (folder / "a.onnx").symlink_to("a.onnx")
    return folder / "a.onnx"


@case
def gigabytes_of_metadata(folder: Path) -> Path:
    with (folder / "a.onnx").open("wb") as file:
        file.write(b"\x72" + b"\x80\x80\x80\x80\x20")
        file.truncate(6 + (8 << 30))
    return folder / "a.onnx"


@case
def no_manifest(folder: Path) -> Path:
    path = artifacts.frames(folder / "my model.onnx")
    change_metadata(path, "author", "somebody")
    return path


def appended(content: Callable[[Path], bytes]) -> Make:
    def make(folder: Path) -> Path:
        path = artifacts.frames(folder / "a.onnx")
        path.write_bytes(path.read_bytes() + content(path))
        return path

    return make


CASES |= {
    "two manifests": appended(lambda path: encode_metadata(METADATA_KEY, "{}")),
    "bytes after the manifest": appended(lambda path: encode_metadata("a", "b")),
    "zeros after the manifest": appended(lambda path: bytes(100)),
}


def with_document(document: Callable[[str], str]) -> Make:
    """Make an artifact whose manifest is another text."""

    def make(folder: Path) -> Path:
        path = artifacts.frames(folder / "a.onnx")
        manifest = read_manifest(path)
        graph = path.read_bytes()[: manifest.graph.size]
        text = document(manifest.to_json())
        path.write_bytes(graph + encode_metadata(METADATA_KEY, text))
        return path

    return make


def with_field(text: str) -> Make:
    """Make an artifact with another first field in its manifest."""
    return with_document(lambda document: "{" + text + "," + document[1:])


def with_values(**changes: object) -> Make:
    def make(folder: Path) -> Path:
        path = artifacts.frames(folder / "a.onnx")
        change_manifest(path, **changes)
        return path

    return make


def nested(levels: int) -> str:
    return '"x":' + "[" * levels + "]" * levels


CASES |= {
    "version 1": with_values(format_version=1),
    "version 3": with_values(format_version=3),
    "version in words": with_values(format_version="two\x1b[2J"),
    "edited": with_document(lambda text: text.replace('"macs":0', '"macs":1')),
    "edited name": with_document(lambda text: text.replace("test.pth", "best.pth")),
    "no digest": with_document(lambda text: '{"format_version":2}'),
    "no version": with_document(lambda text: "{}"),
    "list": with_document(lambda text: "[]"),
    "text as a manifest": with_document(lambda text: '"text"'),
    "number": with_document(lambda text: "1.5"),
    "true": with_document(lambda text: "true"),
    "null": with_document(lambda text: "null"),
    "NaN": with_field('"x":NaN'),
    "Infinity": with_field('"x":[1, Infinity]'),
    "-Infinity": with_field('"x":{"y": -Infinity}'),
    "key twice": with_field('"x":1,"x":2'),
    "key twice inside": with_field('"x":[{"\\u001b":1,"\\u001b":2}]'),
    "33 levels": with_field(nested(32)),
    "100,000 levels": with_field(nested(100_000)),
    "2⁶⁴": with_field(f'"x":{1 << 64}'),
    "-2⁶³-1": with_field(f'"x":{-(1 << 63) - 1}'),
    "1,000 digits": with_field('"x":' + "1" * 1000),
    "1e400": with_field('"x":1e400'),
    "-1e400": with_field('"x":-1.5E400'),
    "other form": with_values(input_form="video"),
    "no inputs": with_values(inputs=[]),
    "model is a number": with_values(model=5),
    "sizes are a list": with_values(preprocessing={"sizes": [352, 518]}),
    "incomplete file": with_values(files=[{"name": "x"}]),
    "name of a folder": with_values(files=[{"name": "../x", "size": 1, "sha256": "0" * 64}]),
    "name that terminals obey": with_values(
        files=[{"name": "\x1b[2J", "size": 1, "sha256": "0" * 64}]
    ),
    "four cases": with_values(selftest=[encode(one) for one in (*cases_for(), *cases_for()[:1])]),
    "manifest of an engine": lambda folder: _engine_manifest_in_onnx(folder),
}


def _engine_manifest_in_onnx(folder: Path) -> Path:
    engine = encode(read_manifest(engines.frames(folder / "e.engine")))
    return with_values(engine=engine["engine"])(folder)


def damaged_weights(change: Callable[[Path], object]) -> Make:
    def make(folder: Path) -> Path:
        path = artifacts.frames(folder / "a.onnx", external=True)
        change(weights_of(path))
        return path

    return make


def emptied_folder(weights: Path) -> None:
    weights.unlink()
    weights.mkdir()


CASES |= {
    "weights missing": damaged_weights(lambda weights: weights.unlink()),
    "weights cut short": damaged_weights(lambda w: w.write_bytes(w.read_bytes()[:-1])),
    "weights empty": damaged_weights(lambda weights: weights.write_bytes(b"")),
    "weights longer": damaged_weights(lambda w: w.write_bytes(w.read_bytes() + b"\0")),
    "other weights": damaged_weights(lambda w: w.write_bytes(bytes(w.stat().st_size))),
    "weights a folder": damaged_weights(emptied_folder),
    "weights a pipe": damaged_weights(lambda weights: replace_by(weights, "pipe")),
    "weights a device": damaged_weights(lambda weights: replace_by(weights, "device")),
}


@case
def changed_weight(folder: Path) -> Path:
    path = artifacts.frames(folder / "a.onnx")
    content = path.read_bytes()
    weight = artifacts.FRAMES_WEIGHTS.tobytes()
    assert content.count(weight) == 1
    path.write_bytes(content.replace(weight, (2 * artifacts.FRAMES_WEIGHTS).tobytes()))
    return path


@of_onnxruntime
def unknown_operator(folder: Path) -> Path:
    path = artifacts.frames(folder / "a.onnx")
    model = onnx.load(path)
    model.graph.node[0].op_type = "NoSuchOperation\x1b[2J"
    return artifacts.write(path, model, read_manifest(path))


@of_onnxruntime
def no_graph(folder: Path) -> Path:
    path = artifacts.frames(folder / "a.onnx")
    model = onnx.load(path)
    model.ClearField("graph")
    return artifacts.write(path, model, read_manifest(path))


@case
def other_names_in_the_graph(folder: Path) -> Path:
    path = artifacts.frames(folder / "a.onnx")
    model = onnx.load(path)
    model.graph.input[0].name = model.graph.node[0].input[0] = "picture\x1b[2J" * 100
    return artifacts.write(path, model, read_manifest(path))


@case
def other_names_in_the_manifest(folder: Path) -> Path:
    path = artifacts.tensors(folder / "a.onnx")
    manifest = read_manifest(path)
    return artifacts.write(
        path, onnx.load(path), dataclasses.replace(manifest, input_form=InputForm.FRAMES)
    )


def with_specs(**changes: dict[str, Any]) -> Make:
    """Make an artifact with other inputs and outputs in its manifest."""

    def make(folder: Path) -> Path:
        path = artifacts.frames(folder / "a.onnx")
        values = encode(read_manifest(path))
        changed = {name: [{**values[name][0], **change}] for name, change in changes.items()}
        change_manifest(path, **changed)
        return path

    return make


CASES |= {
    "input of floats": with_specs(inputs={"dtype": "float32"}),
    "output of floats": with_specs(outputs={"dtype": "float32"}),
    "four channels": with_specs(inputs={"shape": ["batch", "height", "width", 4]}),
    "masks with channels": with_specs(outputs={"shape": ["batch", "height", "width", 1]}),
    "masks of one size": with_specs(outputs={"shape": ["batch", 16, 16]}),
    "frames without channels": with_specs(inputs={"shape": ["batch"]}),
}


PARSERS_OWN = {
    "not JSON": with_document(lambda text: "{"),
    "empty manifest": with_document(lambda text: ""),
    "byte order mark": with_document(lambda text: "\ufeff" + text),
    "NUL and more": with_document(lambda text: "{}\0" + text),
    "text after it": with_document(lambda text: text + "x"),
    "lone surrogate": with_field('"x":"\\ud800"'),
    "control character": with_field('"x":"\t"'),
    "comment": with_document(lambda text: text + "/* */"),
    "comma at the end": with_field('"x":[1,]'),
    "leading zero": with_field('"x":01'),
    "-NaN": with_field('"x":-NaN'),
}
