"""Messages for files of a kind that a command does not take."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dsunet_runtime
from dsunet_runtime import ArtifactError
from dsunet_runtime.artifact.file_kinds import (
    FileKind,
    is_engine,
    is_onnx,
    recognise,
    why_no_artifact,
    why_no_checkpoint,
)
from tests.runtime import artifacts, engines


def _image(format_: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(stream, format_)
    return stream.getvalue()


def _archive() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    return stream.getvalue()


HEADER = b'{"weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
CONTENTS = {
    "safetensors": (len(HEADER).to_bytes(8, "little") + HEADER + bytes(4), FileKind.SAFETENSORS),
    "torch": (_archive(), FileKind.TORCH),
    "pickle": (pickle.dumps({"a": 1}, protocol=2), FileKind.PICKLE),
    "engine": (b"ftrt" + bytes(60), FileKind.ENGINE),
    "engine of RTX": (b"vtrt" + bytes(60), FileKind.ENGINE),
    "LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", FileKind.LFS_POINTER),
    "HTML": (b"\n <!DOCTYPE html><title>404</title>", FileKind.HTML),
    "HTML in capitals": (b"<HTML>", FileKind.HTML),
    "JSON": (b'{"format_version": 1}', FileKind.JSON),
    "empty": (b"", FileKind.EMPTY),
    "text": (b"something else", FileKind.UNKNOWN),
    "one byte": (b"\x08", FileKind.UNKNOWN),
    **{
        name: (_image(name), FileKind.IMAGE)
        for name in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")
    },
}


@pytest.mark.parametrize(("content", "kind"), CONTENTS.values(), ids=CONTENTS)
def test_every_kind(tmp_path: Path, content: bytes, kind: FileKind) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert recognise(path) is kind


def test_real_artifacts_and_a_folder(tmp_path: Path) -> None:
    assert recognise(artifacts.frames(tmp_path / "x.onnx")) is FileKind.ONNX
    assert recognise(tmp_path) is FileKind.FOLDER


@pytest.mark.parametrize("name", ["a.engine", "a.ENGINE", "a.plan", "b/a.Plan"])
def test_names_of_engines(name: str) -> None:
    assert is_engine(name)
    assert is_engine(Path(name))
    assert not is_onnx(name)


@pytest.mark.parametrize("name", ["engine", "a.engine.json", "a.engine.cache", "a.plans", ""])
def test_names_of_none(name: str) -> None:
    assert not is_engine(name)


def test_names_of_onnx_files() -> None:
    assert is_onnx("a.ONNX")
    assert not is_onnx("a.onnx.data")


ARTIFACT, CHECKPOINT = "not an ONNX file", "not a checkpoint"


@pytest.mark.parametrize(
    ("name", "content", "of_artifact", "of_checkpoint"),
    [
        (
            "a b.pth",
            "torch",
            "`dsunet inspect '{}/a b.pth'` describes it, `dsunet-export onnx '{}/a b.pth' -o "
            "'a b.onnx'` exports it",
            None,
        ),
        ("a.bin", "pickle", "`dsunet-export onnx {}/a.bin -o a.onnx`", None),
        ("a.safetensors", "safetensors", "`dsunet inspect {}/a.safetensors`", None),
        ("a.trt", "engine", "`mv {}/a.trt {}/a.engine`", "`mv {}/a.trt {}/a.engine`"),
        ("a.plan", "engine of RTX", None, "`dsunet-export inspect {}/a.plan` describes it"),
        ("a.onnx", "LFS", "`git -C {} lfs pull`", "`git -C {} lfs pull`"),
        ("a.pth", "HTML", f"{ARTIFACT}, but an HTML page", f"{CHECKPOINT}, but an HTML page"),
        ("a.jpg", "JPEG", f"{ARTIFACT}, but an image", f"{CHECKPOINT}, but an image"),
        ("a.plan.json", "JSON", "name {}/a.plan", "name {}/a.plan"),
        ("a.pth", "empty", f"{ARTIFACT}, but empty", f"{CHECKPOINT}, but empty"),
        ("a.pth", "text", ARTIFACT, CHECKPOINT),
    ],
)
def test_messages(
    tmp_path: Path, name: str, content: str, of_artifact: str | None, of_checkpoint: str | None
) -> None:
    path = tmp_path / name
    path.write_bytes(CONTENTS[content][0])
    if of_artifact is not None:
        expected = of_artifact.replace("{}", str(tmp_path))
        assert expected in why_no_artifact(path)
        with pytest.raises(ArtifactError) as refusal:
            dsunet_runtime.read_manifest(path)
        assert str(refusal.value).startswith(f"{path}: is ")
        assert expected in str(refusal.value)
    if of_checkpoint is not None:
        assert of_checkpoint.replace("{}", str(tmp_path)) in why_no_checkpoint(path)


@pytest.mark.parametrize("path", ["/", "."])
def test_folders_without_a_name(path: str) -> None:
    assert "but a folder" in why_no_artifact(Path(path))
    assert "but a folder" in why_no_checkpoint(Path(path))


def test_onnx_under_other_names(tmp_path: Path) -> None:
    path = artifacts.frames(tmp_path / "x.onnx")
    assert "`dsunet-export inspect " in why_no_checkpoint(path)
    other = path.rename(tmp_path / "x.bin")
    assert f"`mv {other} {path}`" in why_no_checkpoint(other)
    dsunet_runtime.read_manifest(other)
    engine = other.rename(tmp_path / "x.engine")
    with pytest.raises(
        ArtifactError, match=r"is an ONNX file, but its name does not end in \.onnx: rename"
    ):
        dsunet_runtime.read_manifest(engine)


@pytest.mark.parametrize("name", ["a.plan", "a.ENGINE"])
def test_engines_under_other_names(tmp_path: Path, name: str) -> None:
    manifest = dsunet_runtime.read_manifest(engines.frames(tmp_path / name))
    assert manifest.engine is not None
