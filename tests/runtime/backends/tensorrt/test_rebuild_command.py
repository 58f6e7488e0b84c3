"""The command in messages that builds an incompatible engine again."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

import pytest

from dsunet_runtime import read_manifest
from dsunet_runtime.artifact.file_digest import FileDigest
from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.artifact.manifest import Precision
from dsunet_runtime.backends.tensorrt.compatibility import rebuild_command
from tests.runtime import engine_builds, engines


def words(command: str) -> list[str]:
    assert command[0] == command[-1] == "`"
    return shlex.split(command[1:-1])


def test_all_options_in_the_manifest(tmp_path: Path) -> None:
    folder = tmp_path / "two words"
    folder.mkdir()
    path = engines.frames(
        folder / "a.engine",
        batch=(1, 2, 4),
        height=(64, 720, 1080),
        width=(32, 1280, 1920),
        stripped=True,
        optimization_level=4,
        compute_capabilities=("8.6", "8.9"),
    )
    manifest = dataclasses.replace(read_manifest(path), precision=Precision("bfloat16"))
    assert words(rebuild_command(path, manifest)) == [
        *("dsunet-export", "trt", str(folder / "a.onnx"), "-o", str(path), "--flavor", "rtx"),
        *("--compute-capability", "8.6", "--compute-capability", "8.9", "--precision", "bf16"),
        *("--batch", "1:2:4", "--size", "64x32:720x1280:1080x1920"),
        *("--opt-level", "4", "--strip-weights"),
    ]


def test_an_engine_that_takes_other_domains(tmp_path: Path) -> None:
    shared = FileDigest("backbone.data", 9, "0" * 64)
    path = engines.frames(tmp_path / "a.engine", shared_weights=shared)
    assert words(rebuild_command(path, read_manifest(path)))[-1] == "--refit"


def test_tensors_and_single_sizes(tmp_path: Path) -> None:
    path = engines.tensors(tmp_path / "a.engine", batch=(3, 3, 3), flavor=Flavor.TENSORRT)
    command = words(rebuild_command(path, read_manifest(path)))
    assert command[6:] == ["tensorrt", "--precision", "fp32", "--batch", "3"]


def test_builds_the_same_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    options = ("--flavor", "rtx", "--compute-capability", "8.9", "--opt-level", "2")
    path = engine_builds.small_engine(tmp_path, *options)
    first = read_manifest(path)
    monkeypatch.chdir(tmp_path.parent)
    given = path.relative_to(tmp_path.parent)
    program, *arguments = words(rebuild_command(given, first))
    path.unlink()
    assert program == "dsunet-export"
    engine_builds.export(*arguments)
    again = read_manifest(path)
    assert first.engine is not None
    assert again.engine is not None
    # Two builds of the same engine differ in bytes.
    file = first.engine.file
    assert dataclasses.replace(again, engine=dataclasses.replace(again.engine, file=file)) == first
