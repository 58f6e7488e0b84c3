"""Broken artifacts: the message of the C library is that of Python's exception."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from dsunet_runtime import read_manifest
from dsunet_runtime.artifact import engine_manifest_file
from dsunet_runtime.document import seal
from dsunet_runtime.manifest import METADATA_KEY, InputForm
from dsunet_runtime.onnx_metadata import encode_metadata
from tests.cpp.binding import BACKEND, CallError, Library, mask_of, packed
from tests.cpp.both import of_c, of_python, of_pythons_checks, refusals
from tests.runtime import artifacts, engines
from tests.runtime.selftests import cases_for
from tests.runtime.test_artifact import change_manifest, change_metadata, replace_by, weights_of

Make = Callable[[Path], Path]
"""Makes a broken artifact in a folder."""

CASES: dict[str, Make] = {}


def case(make: Make) -> Make:
    CASES[make.__name__] = make
    return make


FROM_ONNXRUNTIME: dict[str, Make] = {}
"""Those that ONNX Runtime refuses, in words that its Python package adds to."""


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
    """An artifact whose manifest is another text."""

    def make(folder: Path) -> Path:
        path = artifacts.frames(folder / "a.onnx")
        manifest = read_manifest(path)
        graph = path.read_bytes()[: manifest.graph.size]
        text = document(manifest.to_json())
        path.write_bytes(graph + encode_metadata(METADATA_KEY, text))
        return path

    return make


def with_field(text: str) -> Make:
    """A manifest whose first field is another."""
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
    "four cases": with_values(
        selftest=[dataclasses.asdict(one) for one in (*cases_for(), *cases_for()[:1])]
    ),
    "manifest of an engine": lambda folder: _engine_manifest_in_onnx(folder),
}


def _engine_manifest_in_onnx(folder: Path) -> Path:
    engine = dataclasses.asdict(read_manifest(engines.frames(folder / "e.engine")))
    return with_values(engine=engine["engine"])(folder)


def damaged_weights(change: Callable[[Path], object]) -> Make:
    def make(folder: Path) -> Path:
        path = artifacts.frames(folder / "a.onnx", external=True)
        change(weights_of(path))
        return path

    return make


def _emptied_folder(weights: Path) -> None:
    weights.unlink()
    weights.mkdir()


CASES |= {
    "weights missing": damaged_weights(lambda weights: weights.unlink()),
    "weights cut short": damaged_weights(lambda w: w.write_bytes(w.read_bytes()[:-1])),
    "weights empty": damaged_weights(lambda weights: weights.write_bytes(b"")),
    "weights longer": damaged_weights(lambda w: w.write_bytes(w.read_bytes() + b"\0")),
    "other weights": damaged_weights(lambda w: w.write_bytes(bytes(w.stat().st_size))),
    "weights a folder": damaged_weights(_emptied_folder),
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
    """Input and output as the manifest has them are others."""

    def make(folder: Path) -> Path:
        path = artifacts.frames(folder / "a.onnx")
        values = dataclasses.asdict(read_manifest(path))
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


@pytest.mark.parametrize("name", CASES)
def test_say_the_same(library: Library, tmp_path: Path, name: str) -> None:
    python, c = refusals(library, CASES[name](tmp_path))
    assert python is not None
    assert c == python.replace("\n", "\\n").replace("\x1b", "\\x1b")


@pytest.mark.parametrize("name", FROM_ONNXRUNTIME)
def test_say_the_same_beside_the_words_of_onnx_runtime(
    library: Library, tmp_path: Path, name: str
) -> None:
    python, c = refusals(library, FROM_ONNXRUNTIME[name](tmp_path))
    assert python is not None
    added = re.compile(r"\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
    assert added.search(python)
    common = added.sub("", python).removesuffix("…")
    assert c is not None
    assert c.startswith(common)


def test_what_is_nested_less_is_edited(library: Library, tmp_path: Path) -> None:
    python, c = refusals(library, with_field(nested(31))(tmp_path))
    assert c == python
    assert "SHA-256 differs" in str(c)


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


@pytest.mark.parametrize("name", PARSERS_OWN)
def test_differ_in_the_words_of_the_parser(library: Library, tmp_path: Path, name: str) -> None:
    python, c = refusals(library, PARSERS_OWN[name](tmp_path))
    path = tmp_path / "a.onnx"
    beginning = re.escape(f"{path}: the manifest is not readable: it ")
    assert python is not None
    assert re.match(beginning + "(is not JSON: .|contains text that is not Unicode)", python)
    assert re.match(beginning + "is not JSON: .", str(c))
    assert str(c).isprintable()


@pytest.mark.parametrize("seal_again", [False, True])
def test_a_document_that_the_parser_reads_in_part(
    library: Library, tmp_path: Path, seal_again: bool
) -> None:
    """The digest is that of the whole text, also where a parser would end at NUL."""

    def hidden(text: str) -> str:
        values = json.loads(text)
        del values["manifest_sha256"]
        return text + "\0" + seal(values) if seal_again else "\ufeff" + text

    python, c = refusals(library, with_document(hidden)(tmp_path))
    assert python is not None
    assert c is not None


def test_large_objects_take_linear_time(library: Library, tmp_path: Path) -> None:
    path = artifacts.frames(tmp_path / "a.onnx")
    many = {f"key {number}": "" for number in range(200_000)}
    change_manifest(path, built_with=many)
    start = time.monotonic()
    assert of_c(library, path) is None
    assert time.monotonic() - start < 20  # with a search for each key it is minutes


def test_cut_short_anywhere(library: Library, tmp_path: Path) -> None:
    path = artifacts.frames(tmp_path / "a.onnx", external=True)
    whole, size = path.read_bytes(), read_manifest(path).graph.size
    lengths = {*range(0, len(whole), 61), *range(size - 3, size + 40), *range(40)}
    for length in sorted({*lengths, len(whole) - 1, len(whole) - 2, len(whole) - 70}):
        path.write_bytes(whole[:length])
        python, c = refusals(library, path)
        assert python is not None
        assert c == python, length


def test_hashes_are_compared_on_request(library: Library, tmp_path: Path) -> None:
    for name in ("changed_weight", "other weights"):
        folder = tmp_path / name
        folder.mkdir()
        path = CASES[name](folder)
        assert of_c(library, path) is None
        assert "SHA-256 differs" in str(of_c(library, path, verify_hashes=1))


def test_hashes_are_always_compared_where_a_provider_keeps_what_it_compiled(
    library: Library, tmp_path: Path
) -> None:
    for provider in ("tensorrt", "rtx"):
        folder = tmp_path / provider
        folder.mkdir()
        message = of_c(library, changed_weight(folder), provider=provider)
        assert "SHA-256 differs" in str(message)


def test_the_tensors_form(library: Library, tmp_path: Path) -> None:
    path = artifacts.tensors(tmp_path / "a.onnx")
    assert of_c(library, path) == (
        f"{path}: is of the tensors form, in which the caller does the image processing, and the C "
        f"interface takes frames: export it again with `--input frames`"
    )


def test_a_graph_that_reads_what_the_manifest_does_not_name(
    library: Library, tmp_path: Path
) -> None:
    """Before ONNX Runtime opens it: a pipe may never end."""
    path = artifacts.frames(tmp_path / "a.onnx", external=True)
    model = onnx.load(path, load_external_data=False)
    os.mkfifo(tmp_path / "pipe")
    model.graph.initializer[0].external_data[0].value = "pipe"
    artifacts.write(path, model, read_manifest(path))
    assert of_c(library, path) == (
        f"{path}: its graph reads weights from 'pipe', which its manifest does not name: changed "
        f"since it was exported; export it again"
    )


def test_names_that_are_not_utf8(library: Library, tmp_path: Path) -> None:
    """C's ONNX Runtime opens them; messages show the bytes."""
    path = artifacts.frames(tmp_path / "a.onnx")
    for name in (b"a\xff.onnx", b"a\xf9\x80\x80\x80.onnx"):
        other = os.fsencode(tmp_path) + b"/" + name
        os.link(path, other)
        with library.open(other) as segmenter:
            segmenter(np.zeros((3, 4, 3), np.uint8))
        message = of_c(library, other + b"x")
        assert message == (
            "".join(chr(b) if 32 <= b < 127 else f"\\x{b:02x}" for b in other + b"x")
            + ": No such file or directory"
        )


class TestLinks:
    def test_of_the_artifact_and_its_weights(self, library: Library, tmp_path: Path) -> None:
        store, folder = tmp_path / "store", tmp_path / "folder"
        store.mkdir()
        folder.mkdir()
        path = artifacts.frames(store / "a.onnx", external=True)
        for number, file in enumerate((path, weights_of(path))):
            file.rename(store / str(number))
            (folder / file.name).symlink_to(store / str(number))
        image = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)
        with library.open(folder / "a.onnx", verify_hashes=1) as segmenter:
            assert np.array_equal(segmenter(image)[0], artifacts.expected_frames_mask(image))

    def test_of_the_weights_alone(self, library: Library, tmp_path: Path) -> None:
        path = artifacts.frames(tmp_path / "a.onnx", external=True)
        weights = weights_of(path)
        store = tmp_path / "store"
        store.mkdir()
        weights.rename(store / "weights")
        weights.symlink_to(store / "weights")
        image = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)
        with library.open(path) as segmenter:
            assert np.array_equal(segmenter(image)[0], artifacts.expected_frames_mask(image))


class TestEngines:
    """What is refused before a backend is needed."""

    CHANGES: dict[str, Callable[[Path], object]] = {  # noqa: RUF012
        "no engine": lambda path: path.unlink(),
        "no manifest": lambda path: engine_manifest_file(path).unlink(),
        "manifest a folder": lambda path: _emptied_folder(engine_manifest_file(path)),
        "manifest a pipe": lambda path: replace_by(engine_manifest_file(path), "pipe"),
        "engine a pipe": lambda path: replace_by(path, "pipe"),
        "manifest not text": lambda path: engine_manifest_file(path).write_bytes(b"{\xff}"),
        "manifest empty": lambda path: engine_manifest_file(path).write_bytes(b"[]"),
        "manifest edited": lambda path: _edit(engine_manifest_file(path)),
        "manifest of an ONNX file": lambda path: engine_manifest_file(path).write_text(
            read_manifest(path.with_suffix(".onnx")).to_json()
        ),
        "cut short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
        "changed": lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"),
    }

    @pytest.mark.parametrize("name", CHANGES)
    def test_say_the_same(self, library: Library, tmp_path: Path, name: str) -> None:
        path = engines.frames(tmp_path / "a.engine")
        self.CHANGES[name](path)
        python = of_pythons_checks(path)
        assert python is not None
        assert of_c(library, path, verify_hashes=1) == python

    def test_options_of_onnx_files(self, library: Library, tmp_path: Path) -> None:
        path = engines.frames(tmp_path / "a.engine")
        for options in ({"provider": "cpu"}, {"threads": 1}, {"allow_cpu_fallback": 1}):
            with pytest.raises(CallError, match="apply to ONNX files only, and this is an engine"):
                library.open(path, **options)


def _edit(file: Path) -> None:
    file.write_text(file.read_text().replace('"macs": 0', '"macs": 1'))


class TestGraphsThatComputeSomethingElse:
    """The manifest determines what is allocated: a graph that does not keep to it is an error."""

    def write(
        self, path: Path, nodes: list[onnx.NodeProto], dtype: int, shape: list[object]
    ) -> Path:
        artifacts.frames(path)
        model, manifest = onnx.load(path), read_manifest(path)
        model.graph.ClearField("node")
        model.graph.node.extend(nodes)
        model.graph.ClearField("output")
        model.graph.output.append(helper.make_tensor_value_info("mask", dtype, shape))
        return artifacts.write(path, model, manifest)

    def fails(self, library: Library, path: Path, match: str) -> None:
        image, levels = np.zeros((40, 60, 3), np.uint8), np.full((40, 60), 7, np.uint8)
        with pytest.raises(CallError, match=match) as caught, library.open(path) as segmenter:
            segmenter.segment([packed(image)], [mask_of(levels)])
        assert caught.value.status == BACKEND
        assert str(caught.value).isprintable()

    def test_floats(self, library: Library, tmp_path: Path) -> None:
        nodes = [
            helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["float", "weights"], ["mask"]),
        ]
        shape = ["batch", "height", "width"]
        path = self.write(tmp_path / "a.onnx", nodes, TensorProto.FLOAT, shape)
        self.fails(library, path, "^ONNX Runtime failed: .*data type")

    def test_other_shapes(self, library: Library, tmp_path: Path) -> None:
        nodes = [helper.make_node("Identity", ["image"], ["mask"])]
        shape = ["batch", "height", "width", 3]
        path = self.write(tmp_path / "a.onnx", nodes, TensorProto.UINT8, shape)
        self.fails(library, path, "^ONNX Runtime failed: ")

    def test_two_outputs(self, library: Library, tmp_path: Path) -> None:
        path = artifacts.frames(tmp_path / "a.onnx")
        model, manifest = onnx.load(path), read_manifest(path)
        model.graph.output.append(helper.make_tensor_value_info("float", TensorProto.FLOAT, None))
        artifacts.write(path, model, manifest)
        assert of_c(library, path) == of_python(path)
