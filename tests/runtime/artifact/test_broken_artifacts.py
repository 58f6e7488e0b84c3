"""Reading the files of an artifact, and the messages for broken ones."""

from __future__ import annotations

import dataclasses
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

import dsunet_runtime
from dsunet_runtime import (
    ArtifactError,
    BackendError,
    RuntimeFault,
    segmenter,
)
from dsunet_runtime.artifact import integrity
from dsunet_runtime.artifact.document import seal
from dsunet_runtime.artifact.file_digest import FileDigest
from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.artifact.manifest import METADATA_KEY, InputForm, Manifest
from dsunet_runtime.artifact.onnx_metadata import encode_metadata, read_metadata
from dsunet_runtime.backends.tensorrt.runtime_cache import cache_file
from dsunet_runtime.plain_values import encode
from tests.runtime import artifacts, engines, fake_tensorrt
from tests.runtime.conftest import Machine
from tests.runtime.fake_cuda import GPU


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """An artifact with its weights beside it, in a folder of its own."""
    folder = tmp_path / "pair"
    folder.mkdir()
    return artifacts.frames(folder / "model.onnx", external=True)


def weights_of(path: Path) -> Path:
    return path.with_name(path.name + ".data")


def change_metadata(path: Path, key: str, value: str) -> None:
    model = onnx.load(path, load_external_data=False)
    onnx.helper.set_model_props(model, {key: value})
    path.write_bytes(model.SerializeToString())


def change_manifest(path: Path, **changes: Any) -> None:
    """Fields of the manifest, with a digest that fits."""
    manifest = dsunet_runtime.read_manifest(path)
    values = encode(manifest) | changes
    graph = path.read_bytes()[: manifest.graph.size]
    path.write_bytes(graph + encode_metadata(METADATA_KEY, seal(values)))


def fails_to_load(path: Path, match: str) -> None:
    with pytest.raises(ArtifactError, match=match) as caught:
        dsunet_runtime.load(path)
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)


class TestMetadata:
    @pytest.mark.parametrize("external", [False, True])
    def test_is_what_the_onnx_package_reads(self, tmp_path: Path, external: bool) -> None:
        path = artifacts.frames(tmp_path / "model.onnx", external=external)
        model = onnx.load(path, load_external_data=False)
        assert read_metadata(path) == {p.key: p.value for p in model.metadata_props}

    def test_with_long_and_foreign_text(self, frames_artifact: Path) -> None:
        change_metadata(frames_artifact, "schlüssel", "värde " * 100_000)
        assert read_metadata(frames_artifact) == {"schlüssel": "värde " * 100_000}

    def test_an_entry_is_what_the_onnx_package_writes(self) -> None:
        for value in ("", "x" * 127, "ü" * 64, "x" * 20_000):
            entry = onnx.StringStringEntryProto(key="schlüssel", value=value)
            expected = onnx.ModelProto(metadata_props=[entry]).SerializeToString()
            # An empty value is there all the same.
            assert encode_metadata("schlüssel", value).replace(b"\x12\x00", b"") == (
                expected if value else expected.replace(b"\x12\x00", b"")
            )

    def test_two_entries_of_one_key(self, tmp_path: Path) -> None:
        path = tmp_path / "a.onnx"
        path.write_bytes(encode_metadata("b\x1b[2J", "1") * 2)
        with pytest.raises(ArtifactError, match=r"two entries of metadata called 'b\\x1b\[2J'"):
            read_metadata(path)

    @pytest.mark.parametrize(
        "content",
        [
            b"\x72" + b"\xff" * 8 + b"\x7f",  # a length of 2^63
            b"\x72" + b"\xff" * 9 + b"\x01",  # of 2^70
            b"\x72\x06\x0a" + b"\xff\xff\xff\xff\x0f",  # inside an entry
            b"\xff" * 20,
            b"\x00" * 20,
            b"\x08\x01" * 200_000,  # more fields than any model has
            b"\x72\x04\x0a\x00\x18\x00",  # what no entry holds
            b"\x72\x06" + b"\x0a\x00" * 3,
        ],
    )
    def test_fields_that_no_model_has(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "a.onnx"
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match="not an ONNX file, or cut short"):
            read_metadata(path)

    def test_gigabytes_that_are_claimed_are_not_read(self, tmp_path: Path) -> None:
        """The file has the recorded size, and no content."""
        path = tmp_path / "a.onnx"
        claimed = 8 << 30
        with path.open("wb") as file:
            file.write(b"\x72" + b"\x80\x80\x80\x80\x20")
            file.truncate(6 + claimed)
        with pytest.raises(ArtifactError, match="bytes of metadata"):
            read_metadata(path)

    def test_manifest_comes_back_equal(self, frames_artifact: Path) -> None:
        manifest = dsunet_runtime.read_manifest(frames_artifact)
        assert Manifest.from_json(manifest.to_json()) == manifest
        assert manifest.inputs[0].shape == ("batch", "height", "width", 3)


class TestBrokenGraphFile:
    def test_missing(self, tmp_path: Path) -> None:
        fails_to_load(tmp_path / "absent.onnx", "No such file")

    def test_a_folder(self, tmp_path: Path) -> None:
        fails_to_load(tmp_path, "but a folder: name a file in it")

    @pytest.mark.parametrize(
        "content", [b"", b"hello, this is text\n" * 50, b"\x89PNG\r\n\x1a\n" * 9]
    )
    def test_not_onnx(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "other.onnx"
        path.write_bytes(content)
        fails_to_load(path, "not an ONNX file")

    def test_cut_short_anywhere(self, frames_artifact: Path) -> None:
        whole = frames_artifact.read_bytes()
        for length in range(0, len(whole), 7):
            frames_artifact.write_bytes(whole[:length])
            with pytest.raises(ArtifactError, match=r"cut short|empty|damaged|not exported by"):
                dsunet_runtime.load(frames_artifact)

    def test_no_manifest(self, frames_artifact: Path) -> None:
        change_metadata(frames_artifact, "author", "somebody")
        fails_to_load(frames_artifact, "not exported by dsunet-export: .*`dsunet-export onnx C")

    def test_graph_that_is_no_model(self, frames_artifact: Path) -> None:
        model = onnx.load(frames_artifact)
        model.graph.node[0].op_type = "NoSuchOperation"
        artifacts.write(frames_artifact, model, dsunet_runtime.read_manifest(frames_artifact))
        with pytest.raises((ArtifactError, BackendError), match="NoSuchOperation") as caught:
            dsunet_runtime.load(frames_artifact)
        assert "\n" not in str(caught.value)

    def test_changed_weight(self, tmp_path: Path) -> None:
        path = artifacts.tensors(tmp_path / "model.onnx")
        content = path.read_bytes()
        weight = np.float32(-3).tobytes()
        assert content.count(weight) == 1
        path.write_bytes(content.replace(weight, np.float32(-4).tobytes()))
        with pytest.raises(ArtifactError, match="damaged"):
            dsunet_runtime.load(path)


class TestBrokenManifest:
    def test_other_version(self, frames_artifact: Path) -> None:
        change_manifest(frames_artifact, format_version=99)
        fails_to_load(frames_artifact, "format version 99 .* reads 2: update dsunet, or export")

    @pytest.mark.parametrize("document", ["", "{", "[]", '"text"', "{}", "null"])
    def test_not_a_document(self, frames_artifact: Path, document: str) -> None:
        change_metadata(frames_artifact, METADATA_KEY, document)
        fails_to_load(frames_artifact, "manifest is not readable|not exported")

    @pytest.mark.parametrize(
        "changes",
        [
            {"input_form": "video"},
            {"inputs": "image"},
            {"preprocessing": []},
            {"preprocessing": {"sizes": [352, 518]}},
            {"model": 5},
            {"files": [{"name": "x"}]},
        ],
    )
    def test_fields_that_do_not_fit(self, frames_artifact: Path, changes: dict[str, Any]) -> None:
        change_manifest(frames_artifact, **changes)
        fails_to_load(frames_artifact, "manifest does not describe an artifact")

    def test_names_other_tensors_than_the_graph(self, tmp_path: Path) -> None:
        path = artifacts.tensors(tmp_path / "model.onnx")
        other = dsunet_runtime.read_manifest(artifacts.frames(tmp_path / "frames.onnx"))
        artifacts.write(path, onnx.load(path), other)
        fails_to_load(path, "the graph's inputs are dino, hiera and the manifest's image")

    def test_names_tensors_that_its_form_has_not(self, tmp_path: Path) -> None:
        path = artifacts.tensors(tmp_path / "model.onnx")
        manifest = dsunet_runtime.read_manifest(path)
        wrong = dataclasses.replace(manifest, input_form=InputForm.FRAMES)
        artifacts.write(path, onnx.load(path), wrong)
        with pytest.raises(ArtifactError, match="dino, hiera where its form has image"):
            dsunet_runtime.load(path)


class TestWhatIsNoFile:
    """A pipe or a device may never end: reading it is not begun."""

    @pytest.mark.parametrize("kind", ["pipe", "device"])
    @pytest.mark.parametrize("name", ["model.onnx", "model.onnx.data"])
    def test_of_an_onnx_artifact(self, pair: Path, kind: str, name: str) -> None:
        replace_by(pair.with_name(name), kind)
        with pytest.raises(ArtifactError, match=rf"{name}: is a pipe or a device, not a file"):
            dsunet_runtime.load(pair)

    @pytest.mark.parametrize("kind", ["pipe", "device"])
    @pytest.mark.parametrize("name", ["a.engine", "a.engine.json"])
    def test_of_an_engine(self, tmp_path: Path, kind: str, name: str) -> None:
        path = engines.frames(tmp_path / "a.engine")
        replace_by(path.with_name(name), kind)
        with pytest.raises(ArtifactError, match=rf"{name}: is a pipe or a device, not a file"):
            dsunet_runtime.load(path)

    @pytest.mark.parametrize("kind", ["pipe", "device"])
    def test_a_cache_of_kernels_is_written_anew(
        self, machine: Machine, tmp_path: Path, kind: str
    ) -> None:
        path = engines.frames(tmp_path / "a.engine")
        cache = cache_file(path, GPU, "cuda13.0", fake_tensorrt.VERSION)
        replace_by(cache, kind)
        dsunet_runtime.load(path).close()
        assert cache.is_file()
        assert not cache.is_symlink()


def replace_by(path: Path, kind: str) -> None:
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")


class TestForeignText:
    """Names are of any length, and may hold what a terminal obeys."""

    NAME = "\x1b[2J" * 100_000

    def test_names_of_tensors(self, tmp_path: Path) -> None:
        path = artifacts.frames(tmp_path / "a.onnx")
        model, manifest = onnx.load(path), dsunet_runtime.read_manifest(path)
        model.graph.input[0].name = model.graph.node[0].input[0] = self.NAME
        artifacts.write(path, model, manifest)
        says_little(path, "the graph's inputs are ")
        (image,) = manifest.inputs
        named = dataclasses.replace(manifest, inputs=(dataclasses.replace(image, name=self.NAME),))
        artifacts.write(path, model, named)
        says_little(path, "the manifest names tensors ")

    def test_message_of_onnx_runtime_about_a_node(self, tmp_path: Path) -> None:
        path = artifacts.frames(tmp_path / "a.onnx")
        model = onnx.load(path)
        model.graph.node[1].name = model.graph.node[1].op_type = self.NAME
        artifacts.write(path, model, dsunet_runtime.read_manifest(path))
        says_little(path, "ONNX Runtime cannot load it|not a whole ONNX model")

    def test_manifest_of_an_engine(self, tmp_path: Path) -> None:
        path = engines.frames(tmp_path / "a.engine", flavor=Flavor.TENSORRT, platform=self.NAME)
        says_little(path, "built for ")


def says_little(path: Path, match: str) -> None:
    with pytest.raises(RuntimeFault, match=match) as caught:
        dsunet_runtime.load(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


class TestWeightsBesideTheGraph:
    def test_load_and_compute(self, pair: Path, photo: NDArray[np.uint8]) -> None:
        with dsunet_runtime.load(pair) as segmenter:
            np.testing.assert_array_equal(segmenter(photo), artifacts.expected_frames_mask(photo))

    def test_move_together(
        self, pair: Path, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        moved = pair.parent.rename(pair.parent.with_name("elsewhere")) / pair.name
        monkeypatch.chdir(moved.parent)
        for path in (moved, Path(moved.name)):
            with dsunet_runtime.load(path) as segmenter:
                np.testing.assert_array_equal(
                    segmenter(photo), artifacts.expected_frames_mask(photo)
                )

    def test_missing(self, pair: Path) -> None:
        weights_of(pair).unlink()
        fails_to_load(pair, "missing; model.onnx stores its weights in it")

    def test_cut_short(self, pair: Path) -> None:
        weights_of(pair).write_bytes(weights_of(pair).read_bytes()[:-1])
        fails_to_load(pair, "has 11 bytes and model.onnx was exported with one of 12")

    def test_exchanged(self, pair: Path) -> None:
        weights_of(pair).write_bytes(weights_of(pair).read_bytes()[::-1])
        fails_to_load(pair, r"SHA-256 differs.*damaged or replaced")

    def test_exchanged_files_are_reported_before_a_graph_that_does_not_load(
        self, pair: Path
    ) -> None:
        weights_of(pair).write_bytes(weights_of(pair).read_bytes()[::-1])
        model = onnx.load(pair, load_external_data=False)
        manifest = dsunet_runtime.read_manifest(pair)
        model.graph.node[0].op_type = "NoSuchOperation"
        artifacts.write(pair, model, manifest)
        fails_to_load(pair, "SHA-256 differs")

    @pytest.mark.parametrize(
        "name", ["../model.onnx.data", "/etc/hostname", "", "..", "a\0b", "a\x1b[2J", "a" * 256]
    )
    def test_outside_the_folder(self, pair: Path, name: str) -> None:
        change_manifest(pair, files=[encode(FileDigest(name, 1, "0" * 64))])
        fails_to_load(pair, "not a plain file name")

    def test_hash_while_the_session_is_created(
        self, pair: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        creating, hashing = threading.Event(), threading.Event()
        digest, backend = integrity.digest, segmenter.open_backend

        def digest_during_creation(path: Path, size: int | None) -> FileDigest:
            hashing.set()
            assert creating.wait(10)
            return digest(path, size)

        def backend_during_hashing(*arguments: Any) -> Any:
            creating.set()
            assert hashing.wait(10)
            return backend(*arguments)

        monkeypatch.setattr(integrity, "digest", digest_during_creation)
        monkeypatch.setattr(segmenter, "open_backend", backend_during_hashing)
        dsunet_runtime.load(pair).close()
