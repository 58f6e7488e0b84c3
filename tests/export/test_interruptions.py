"""Killed processes and full disks leave no partial artifact and no temporary files."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dsunet_export import artifact
from tests.export.engines import ADA, SMALL, trt
from tests.export.helpers import NANO, export, one_line

BUILD = ("trt", *ADA, *SMALL)
EXPORT = ("onnx", *NANO, "--no-verify")


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let writing fail beyond so many bytes of a file, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def kill_when_something_appears(folder: Path, *arguments: object) -> list[Path]:
    """Start a command, kill it as soon as a folder has a file; return the files in it."""
    program = "from dsunet_export.cli import app; app(prog_name='dsunet-export')"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        until = time.monotonic() + 120
        while not list(folder.iterdir()) and process.poll() is None:
            assert time.monotonic() < until
            time.sleep(0.01)
        process.kill()
        assert process.wait() == -9, process.stderr and process.stderr.read()
    return list(folder.iterdir())


def test_a_killed_export_is_cleared_by_the_next(tmp_path: Path) -> None:
    output = tmp_path / "nano.onnx"
    (leftover,) = kill_when_something_appears(tmp_path, *EXPORT, "-o", output)
    assert leftover.name.startswith(".dsunet-")
    result = export(*EXPORT[1:], "-o", output)
    assert result.exit_code == 0, result.output
    assert list(tmp_path.iterdir()) == [output]


def test_a_killed_build_is_cleared_by_the_next(tmp_path: Path, float16: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    output = tmp_path / "x.engine"
    (leftover,) = kill_when_something_appears(tmp_path, *BUILD, float16, "-o", output)
    assert leftover.name.startswith(".dsunet-")
    result = trt(*BUILD[1:], float16, "-o", output)
    assert result.exit_code == 0, result.output
    assert {path.name for path in tmp_path.iterdir()} == {"x.engine", "x.engine.json"}


def exported(output: Path, *arguments: object) -> str:
    with files_of_at_most(500_000):
        result = export(*EXPORT[1:], *arguments, "-o", output)
    assert result.exit_code == 1, result.output
    return result.stderr


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("limit", [10**9, 1_000_000], ids=["one file", "two files"])
@pytest.mark.parametrize("arguments", [(), ("--precision", "fp16")], ids=["fp32", "fp16"])
def test_full_disk(
    tmp_path: Path, limit: int, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the graph is only to be measured, which needs a file as well."""
    monkeypatch.setattr(artifact, "SINGLE_FILE_LIMIT", limit)
    output = tmp_path / "out" / "nano.onnx"
    said = exported(output, *arguments)
    lines = [line for line in said.splitlines() if not re.fullmatch(r"[\w ]+: \d+\.\d s", line)]
    assert one_line("\n".join(lines)).startswith(
        f"dsunet-export: cannot write to {output.parent}: "
    )
    assert list(output.parent.iterdir()) == []


def test_full_disk_of_an_engine(tmp_path: Path, float16: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    output = tmp_path / "x.engine"
    with files_of_at_most(10_000):
        result = trt(*BUILD[1:], float16, "-o", output)
    assert result.exit_code == 1, result.output
    assert f"cannot write to {tmp_path}: File too large" in result.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []
