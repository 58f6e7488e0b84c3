"""The manifest's digest, its bounds, and that no altered byte of an artifact is accepted."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

import dsunet_runtime
from dsunet_runtime import ArtifactError, Manifest, read_manifest
from dsunet_runtime.artifact.document import seal
from dsunet_runtime.artifact.file_digest import digest
from dsunet_runtime.artifact.integrity import check_hashes, check_sizes
from dsunet_runtime.artifact.manifest import METADATA_KEY
from dsunet_runtime.artifact.manifest_file import engine_manifest_file
from dsunet_runtime.artifact.onnx_metadata import encode_metadata
from dsunet_runtime.plain_values import encode
from tests.runtime import artifacts, engines

QUANTIZED = {"products": 3, "candidates": 4, "weights": 9, "images": 1, "noise": None}


@pytest.fixture
def tensors(tmp_path: Path) -> Path:
    return artifacts.tensors(tmp_path / "a.onnx")


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    return engines.tensors(tmp_path / "a.engine")


def document(path: Path) -> bytes:
    """As it lies in the file."""
    return read_manifest(path).to_json().encode()


def check(path: Path) -> Manifest:
    """Every check of `load`, without a backend."""
    manifest = read_manifest(path)
    check_sizes(path, manifest)
    check_hashes(path, manifest)
    return manifest


def refuses(path: Path, match: str) -> None:
    with pytest.raises(ArtifactError, match=match) as caught:
        dsunet_runtime.load(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


class TestDigest:
    def test_is_what_another_language_computes(self, tensors: Path) -> None:
        """Of the bytes in the file, without a JSON parser."""
        content = tensors.read_bytes()
        text = content[content.index(b'{"model"') :]
        body, _, ending = text.partition(b',"manifest_sha256":"')
        assert ending == hashlib.sha256(body + b"}").hexdigest().encode() + b'"}'

    @pytest.mark.parametrize("altered", ["0.985", "0.486", "0.485e1"])
    def test_an_altered_mean_in_an_onnx_file(self, tensors: Path, altered: str) -> None:
        content = tensors.read_bytes()
        assert content.count(b"0.485") == 1
        tensors.write_bytes(content.replace(b"0.485", altered.encode()))
        refuses(
            tensors,
            r"a\.onnx: (the manifest is damaged, or was changed|is an ONNX file, but damaged)",
        )

    def test_an_altered_mean_beside_an_engine(self, engine: Path) -> None:
        file = engine_manifest_file(engine)
        file.write_text(file.read_text().replace("0.485", "0.985"))
        refuses(engine, r"a\.engine\.json: the manifest is damaged, or was changed .*copy .* again")

    @pytest.mark.parametrize(
        "layout",
        [
            {"indent": None, "separators": (",", ":")},
            {"indent": "\t"},
            {"indent": 7, "separators": (" ,", " : ")},
        ],
    )
    def test_an_editor_may_indent_what_lies_beside_an_engine(
        self, engine: Path, layout: dict[str, Any]
    ) -> None:
        file = engine_manifest_file(engine)
        before = check(engine)
        text = json.dumps(json.loads(file.read_text()), **layout)
        file.write_bytes(b"\r\n" + text.replace("\n", "\r\n").encode() + b" \n")
        assert check(engine) == before

    @pytest.mark.parametrize(
        "change",
        [
            lambda values: dict(sorted(values.items())),
            lambda values: values | {"manifest_sha256": "0" * 64},
            lambda values: values | {"manifest_sha256": None},
            lambda values: values | {"comment": "mine"},
            lambda values: {k: v for k, v in values.items() if k != "manifest_sha256"},
            lambda values: {k: v for k, v in values.items() if k != "gpus"} | {"macs": 1},
        ],
    )
    def test_other_changes_are_refused(
        self, engine: Path, change: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> None:
        file = engine_manifest_file(engine)
        file.write_text(json.dumps(change(json.loads(file.read_text())), indent=2))
        refuses(engine, "the manifest is damaged, or was changed")

    def test_strings_keep_their_white_space(self, engine: Path) -> None:
        manifest = dataclasses.replace(read_manifest(engine), weights_origin='a  \\" b\\\\')
        engines.write_manifest(engine, manifest)
        assert check(engine) == manifest
        file = engine_manifest_file(engine)
        file.write_text(file.read_text().replace("a  ", "a "))
        refuses(engine, "the manifest is damaged, or was changed")

    def test_a_manifest_from_before_there_was_a_digest(self, tensors: Path) -> None:
        values = encode(read_manifest(tensors)) | {"format_version": 1}
        rewrite(tensors, json.dumps(values))
        refuses(tensors, r"format version 1 and this dsunet_runtime reads 2: export .* again")

    def test_a_later_format_version(self, tensors: Path) -> None:
        values = encode(read_manifest(tensors)) | {"format_version": 3}
        rewrite(tensors, seal(values))
        refuses(tensors, r"format version 3 .* reads 2: update dsunet, or export .* again")

    @pytest.mark.parametrize(
        ("version", "shown"), [("2", "'2'"), (True, "true"), (None, "null"), (2.0, "2.0")]
    )
    def test_a_format_version_of_another_type(
        self, tensors: Path, version: object, shown: str
    ) -> None:
        values = encode(read_manifest(tensors)) | {"format_version": version}
        rewrite(tensors, seal(values))
        refuses(tensors, f"is not readable: format_version is {shown}, not an integer; export")

    def test_fields_that_later_versions_add(self, tensors: Path) -> None:
        """Within a format version they are for information, and what computes ignores them."""
        expected = read_manifest(tensors)
        values = encode(expected)
        values["preprocessing"]["note"] = {"from": "later"}
        rewrite(tensors, seal(values | {"energy_per_image": 1.5}))
        assert read_manifest(tensors) == expected

    def test_a_value_that_later_versions_add(self, tensors: Path) -> None:
        values = encode(read_manifest(tensors)) | {"mask_form": "polygons"}
        rewrite(tensors, seal(values))
        refuses(
            tensors, "update dsunet if a later one wrote it.*mask_form is 'polygons', not one of"
        )

    def test_what_json_cannot_hold_is_not_written(self, tensors: Path) -> None:
        manifest = read_manifest(tensors)
        with pytest.raises(
            ArtifactError, match=r"the manifest cannot be written as JSON: .*not JSON compliant"
        ):
            dataclasses.replace(manifest, model={"dropout": float("nan")}).to_json()
        with pytest.raises(
            ArtifactError, match=r"the manifest cannot be written as JSON: .*surrogates"
        ):
            dataclasses.replace(manifest, weights_origin="caf\udce9.pth").to_json()


class TestEndOfAnOnnxFile:
    @pytest.mark.parametrize("more", ["byte", "field", "graph", "metadata", "manifest"])
    def test_nothing_follows_the_manifest(self, tensors: Path, more: str) -> None:
        """Protobuf merges fields that are given twice: a second graph would add to the first."""
        model = onnx.load(tensors)
        added = {
            "byte": b"\0",
            "field": onnx.ModelProto(producer_name="x").SerializeToString(),
            "graph": onnx.ModelProto(graph=model.graph).SerializeToString(),
            "metadata": encode_metadata("author", "somebody"),
            "manifest": encode_metadata(METADATA_KEY, document(tensors).decode()),
        }
        tensors.write_bytes(tensors.read_bytes() + added[more])
        refuses(
            tensors,
            "changed since it was exported|an ONNX file, but damaged|two entries of metadata",
        )

    def test_nothing_comes_before_it(self, tensors: Path) -> None:
        whole = tensors.read_bytes()
        size = read_manifest(tensors).graph.size
        for added in (encode_metadata("note", "x"), whole[:size]):
            tensors.write_bytes(whole[:size] + added + whole[size:])
            refuses(tensors, "changed since it was exported|two entries of metadata")

    def test_saved_again_by_another_program(self, tensors: Path) -> None:
        model = onnx.load(tensors)
        model.graph.doc_string = "opened and saved"
        onnx.save(model, tensors)
        refuses(tensors, "changed since it was exported")

    def test_the_manifest_of_an_engine(self, tensors: Path, engine: Path) -> None:
        """Which might name itself as the file with its weights."""
        manifest = dataclasses.replace(
            read_manifest(engine), graph=dataclasses.replace(digest(tensors), size=1)
        )
        rewrite(tensors, manifest.to_json())
        refuses(tensors, "holds the manifest of an engine")


def test_an_engine_that_names_itself_as_its_weights(engine: Path) -> None:
    manifest = read_manifest(engine)
    assert manifest.engine is not None
    own = dataclasses.replace(
        manifest,
        graph=dataclasses.replace(manifest.graph, name=engine.name),
        engine=dataclasses.replace(manifest.engine, weights_stripped=True),
    )
    engines.write_manifest(engine, own)
    with pytest.raises(ArtifactError, match=r"not the file that a\.engine was built from"):
        check(engine)


class TestDamage:
    """One byte of a whole artifact is another."""

    def test_of_an_onnx_file(self, tensors: Path) -> None:
        whole = tensors.read_bytes()
        check(tensors)
        for damaged in flips(whole, seed=1):
            tensors.write_bytes(damaged)
            with pytest.raises(ArtifactError):
                check(tensors)

    def test_of_weights_beside_it(self, tmp_path: Path) -> None:
        path = artifacts.frames(tmp_path / "b.onnx", external=True)
        check(path)
        data = tmp_path / "b.onnx.data"
        for damaged in flips(data.read_bytes(), seed=2):
            data.write_bytes(damaged)
            with pytest.raises(ArtifactError):
                check(path)

    def test_of_an_engine(self, engine: Path) -> None:
        check(engine)
        for damaged in flips(engine.read_bytes(), seed=3):
            engine.write_bytes(damaged)
            with pytest.raises(ArtifactError):
                check(engine)

    def test_of_what_describes_an_engine(self, engine: Path) -> None:
        """White space may become other white space, which changes nothing."""
        before = check(engine)
        file = engine_manifest_file(engine)
        whole = file.read_bytes()
        for damaged in flips(whole, seed=4):
            file.write_bytes(damaged)
            try:
                found = check(engine)
            except ArtifactError:
                continue
            assert found == before
            assert b"".join(damaged.split()) == b"".join(whole.split())


def flips(whole: bytes, seed: int) -> list[bytes]:
    """The content with one bit flipped, or with any other byte, at some hundred positions."""
    generator = random.Random(seed)
    found = []
    for position in generator.sample(range(len(whole)), min(len(whole), 800)):
        byte = whole[position]
        one_bit = byte ^ 1 << generator.randrange(8)
        other = generator.choice([one_bit, byte ^ generator.randrange(1, 256)])
        found.append(whole[:position] + bytes([other]) + whole[position + 1 :])
    return found


HUGE = 10**18


def profile(*shapes: list[int]) -> dict[str, Any]:
    return {"input": "hiera", **dict(zip(("minimum", "optimum", "maximum"), shapes, strict=True))}


class TestBounds:
    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"preprocessing": {"sizes": {"hiera": HUGE, "dino": 14}}}, "1,000,000,000,000,000"),
            ({"preprocessing": {"sizes": {"hiera": 0, "dino": 14}}}, "input size of 'hiera' is 0"),
            (
                {"preprocessing": {"sizes": {"hiera": True, "dino": 14}}},
                "preprocessing.sizes.hiera is true, not an",
            ),
            ({"preprocessing": {"std": [0.2, 0.0, 0.2]}}, "std is out of range"),
            ({"preprocessing": {"mean": [1e300, 0.0, 0.2]}}, "mean is out of range"),
            ({"preprocessing": {"mean": [0.1, 0.2]}}, "mean is .*, not a list of 3"),
            ({"inputs": []}, "inputs must have at least one tensor"),
            ({"macs": 1.5}, "macs is 1.5, not an integer"),
            ({"macs": "x" * 1_000_000}, "macs is 'x+…', not an integer"),
            ({"mask_form": ["\x1b[2J"]}, "mask_form is .*, not one of probability, stretched"),
            ({"graph": {"sha256": "../../x"}}, "has no valid size and SHA-256"),
            ({"graph": {"size": -1}}, "has no valid size and SHA-256"),
            ({"graph": {"size": (1 << 64) - 1}}, "has no valid size and SHA-256"),
            ({"profiles": [profile([1], [2], [HUGE])]}, "is not a range within"),
            ({"profiles": [profile([3], [2], [1])]}, "is not a range within"),
            ({"profiles": [profile([1], [2, 2], [3])]}, "is not a range within"),
            (
                {"rewrites": [{"name": "fold", "macs_before": 0, "macs_after": 1}]},
                "macs_before of the rewrite 'fold' is less than 1",
            ),
            (
                {"rewrites": [{"name": "fold", "macs_before": 1, "macs_after": -1}]},
                "macs_after of the rewrite 'fold' is less than 0",
            ),
            ({"macs": -1}, "macs is -1, less than 0"),
            (
                {"precision": {"compute": "float12"}},
                "precision.compute is 'float12', not one of float32, float16, bfloat16",
            ),
            (
                {"precision": {"quantized": {**QUANTIZED, "data_type": "int3"}}},
                "precision.quantized.data_type is 'int3', not one of int8, float8e4m3fn",
            ),
        ],
    )
    def test_what_no_artifact_is(self, tensors: Path, change: dict[str, Any], match: str) -> None:
        rewrite(tensors, seal(merged(encode(read_manifest(tensors)), change)))
        refuses(tensors, f"a.onnx: the manifest does not describe an artifact: .*{match}")

    @pytest.mark.parametrize(
        "tensor",
        [
            {"shape": [HUGE, 3, 16, 16]},
            {"shape": [-1, 3, 16, 16]},
            {"shape": ["", 3, 16, 16]},
            {"shape": []},
            {"shape": ["a"] * 9},
            {"dtype": "float64"},
            {"dtype": "O"},
        ],
    )
    def test_tensors_that_no_artifact_has(self, tensors: Path, tensor: dict[str, Any]) -> None:
        values = encode(read_manifest(tensors))
        values["inputs"][0].update(tensor)
        rewrite(tensors, seal(values))
        refuses(tensors, "does not describe an artifact: .*'hiera' has the (shape|type)")

    @pytest.mark.parametrize(
        "change",
        [
            {"tensorrt_version": "1.0; rm -rf ~"},
            {"compute_capabilities": ["8.9 --output /etc"]},
            {"compute_capabilities": []},
            {"file": {"size": 0}},
        ],
    )
    def test_engines_that_nothing_built(self, engine: Path, change: dict[str, Any]) -> None:
        values = encode(read_manifest(engine))
        engine_manifest_file(engine).write_text(seal(merged(values, {"engine": change})))
        refuses(engine, "the manifest does not describe an artifact")

    @pytest.mark.parametrize(
        "text",
        [
            "[" * 100_000,
            '{"format_version": 2, "model": ' + "[" * 100_000 + "]" * 100_000 + "}",
            '{"format_version": 2, "macs": ' + "9" * 5000 + "}",
            '{"format_version": ' + "9" * 5000 + "}",
            '{"format_version": 2, "macs": 1e999}',
            '{"format_version": 2, "macs": NaN}',
            '{"format_version": 2, "format_version": 2}',
            '{"format_version": "' + "2" * 1_000_000 + '"}',
            '{"format_version": "\\u001b[2J\\u0007"}',
            '{"format_version": {"a": [1, {"b": null}]}}',
            '"' + "\\" * 99_999,
        ],
        ids=range(11),
    )
    def test_text_that_no_exporter_wrote(self, tensors: Path, engine: Path, text: str) -> None:
        rewrite(tensors, text)
        refuses(tensors, r"a\.onnx: the manifest (is not readable|has format version)")
        engine_manifest_file(engine).write_text(text)
        refuses(engine, r"a\.engine\.json: the manifest (is not readable|has format version)")


def merged(values: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """A nested document with other values in some places."""
    for key, value in change.items():
        old = values.get(key)
        values[key] = merged(old, value) if isinstance(value, dict) and old else value
    return values


def rewrite(path: Path, text: str) -> None:
    """Another document in place of an ONNX file's manifest."""
    graph = path.read_bytes()[: read_manifest(path).graph.size]
    path.write_bytes(graph + encode_metadata(METADATA_KEY, text))
