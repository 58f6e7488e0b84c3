"""Broken artifacts: the message of the C library is that of Python's exception."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dsunet_runtime import read_manifest
from dsunet_runtime.artifact.document import seal
from dsunet_runtime.artifact.manifest_file import engine_manifest_file
from tests.cpp.both import of_c, of_pythons_checks, refusals
from tests.cpp.broken_artifacts import (
    CASES,
    FROM_ONNXRUNTIME,
    PARSERS_OWN,
    emptied_folder,
    nested,
    with_document,
    with_field,
)
from tests.cpp.c_interface import CallError, Library
from tests.runtime import artifacts, engines
from tests.runtime.artifact.test_broken_artifacts import change_manifest, replace_by, weights_of


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
        message = of_c(library, CASES["changed_weight"](folder), provider=provider)
        assert "SHA-256 differs" in str(message)


def test_the_tensors_form(library: Library, tmp_path: Path) -> None:
    path = artifacts.tensors(tmp_path / "a.onnx")
    assert of_c(library, path) == (
        f"{path}: is of the tensors form, in which the caller does the image processing, and the C "
        f"interface takes frames: export it again with `--input frames`"
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
        "manifest a folder": lambda path: emptied_folder(engine_manifest_file(path)),
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
