"""The session on a GPU, as far as it can be tested without one: order, document and sums."""

from __future__ import annotations

import importlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch

from dsunet import DSUNetConfig, random_model
from dsunet_export.macs import count_macs

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SESSION = BENCHMARKS / "gpu_session.sh"
A_QUARTER, TEN_MINUTES = 900, 600
STUB = f"""#!/usr/bin/env bash
case "$*" in
    *gpu_document.py*) exec {sys.executable} "$@" ;;
    "-m venv"*) mkdir -p "${{@: -1}}/bin" && cp "$0" "${{@: -1}}/bin/python" ;;
    "-c import site"*) dirname "$0" ;;
    *gpu_rtx.py*) echo "first"; echo "it refuses" >&2; exit 3 ;;
    *gpu_tests.py*) exit 124 ;;
    *.py*) name=$(basename "$1" .py)
        echo '{{"left_out": {{"a part": "a reason"}}}}' >"$DSUNET_RESULTS/$name.json" ;;
esac
"""
"""In the place of Python: makes an environment of itself, and each step write, fail or time out."""


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(SESSION), *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a script that is run."""
    monkeypatch.syspath_prepend(BENCHMARKS)


@pytest.fixture
def stubbed(tmp_path: Path) -> dict[str, str]:
    """An environment in which every step is a stub."""
    stub = tmp_path / "python3"
    stub.write_text(STUB)
    stub.chmod(0o755)
    return {"PYTHON": str(stub), "TMPDIR": str(tmp_path)}


def test_help() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "gpu_session.sh [--dry-run]" in done.stdout


@pytest.mark.parametrize("arguments", [(), ("--only", "6"), ("--fast", "a", "b"), ("nowhere", "b")])
def test_wrong_usage_is_one_line(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_time_is_bounded(options: tuple[str, ...]) -> None:
    lines = run(*options, "--list").stdout.splitlines()
    steps = [line.partition(" s: ")[0].replace(",", "").split() for line in lines]
    limits: dict[str, int] = {}
    for number, _, limit in steps:
        limits[number] = limits.get(number, 0) + int(limit)
    assert [*limits] == [*"012345"]
    assert max(limits.values()) <= TEN_MINUTES
    assert sum(limits.values()) <= A_QUARTER
    assert all(("nano" in line) == bool(options) for line in lines if "--preset" in line)


def test_document(tmp_path: Path, stubbed: dict[str, str]) -> None:
    (tmp_path / "brought").mkdir()
    done = run("--dry-run", tmp_path / "brought", tmp_path / "results", **stubbed)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout.splitlines()[-1])
    assert document == json.loads((tmp_path / "results/session.json").read_text())
    steps = {step["name"]: step for step in document["steps"]}
    assert [step["step"] for step in document["steps"]] == [0, 1, 1, 2, 2, 3, 4, 5, 5]
    assert {name for name, step in steps.items() if step["exit_code"]} == {"gpu_rtx", "gpu_tests"}
    assert steps["gpu_rtx"]["last_lines"] == ["first", "it refuses"]
    assert not steps["gpu_rtx"]["timed_out"]
    assert steps["gpu_tests"]["timed_out"]
    assert document["left_out"]["gpu_branches"] == {"a part": "a reason"}
    assert "gpu_rtx" not in document["results"]


def test_one_step_alone(tmp_path: Path, stubbed: dict[str, str]) -> None:
    (tmp_path / "brought").mkdir()
    folders = (tmp_path / "brought", tmp_path / "results")
    for number in (0, 3):
        done = run("--only", number, *folders, **stubbed)
    document: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert [step["name"] for step in document["steps"]] == ["gpu_packages", "training_cuda_large"]


def test_packages_come_in_pieces(tmp_path: Path, stubbed: dict[str, str]) -> None:
    """One call brings the first, the next one the second."""
    archive = io.BytesIO()
    content = bytes(range(256)) * 100
    with tarfile.open(fileobj=archive, mode="w:xz") as packages:
        member = tarfile.TarInfo("package/library.so")
        member.size = len(content)
        packages.addfile(member, io.BytesIO(content))
    whole = archive.getvalue()
    for number, piece in enumerate((whole[:150], whole[150:])):
        brought = tmp_path / f"brought{number}"
        brought.mkdir()
        (brought / f"package.tar.xz.0{number}").write_bytes(piece)
        run("--only", 0, brought, tmp_path / "results", **stubbed)
        said = (tmp_path / "results/gpu_packages.log").read_text()
        assert ("not complete yet" in said) == (number == 0)
    (library,) = (tmp_path / "dsunet-gpu-session/venv").rglob("library.so")
    assert library.read_bytes() == content


def test_branches_add_up() -> None:
    branches = importlib.import_module("gpu_branches")
    model = random_model(DSUNetConfig.preset("nano"))
    expected = count_macs(model)
    frames = importlib.import_module("gpu_frames").Frames(model, torch.float32).eval()
    image = torch.randint(0, 256, (2, 40, 60, 3), dtype=torch.uint8)
    macs = branches.count_macs(frames, image)
    assert sum(macs.values()) - macs["preprocessing"] == 2 * expected
    seconds = branches.time_branches(frames, frames, image, 1)
    assert seconds.keys() == {*macs, "all"}
    assert sum(seconds[branch] for branch in macs) <= seconds["all"]


def test_largest_loss_comes_first() -> None:
    ceiling = importlib.import_module("dsunet_runtime.bench.roofline.ceiling").Ceiling(
        10, 1, "", ""
    )
    losses = importlib.import_module("gpu_branches").losses
    found = losses({"a": 2.0, "all": 7.0, "b": 5.0}, {"a": 10, "b": 30}, ceiling)
    assert [*found] == ["b", "a", "all"]
    assert found["b"]["lost_seconds"] == 2
    assert found["b"]["fraction_of_ceiling"] == 0.6
    assert found["all"]["macs"] == 40


def test_outcomes_of_tests(tmp_path: Path) -> None:
    (tmp_path / "tests.xml").write_text(
        '<testsuites><testsuite><testcase classname="a" name="b"/><testcase classname="a" name="c">'
        '<skipped message="no GPU"/></testcase><testcase classname="a" name="d">'
        '<failure message="first&#10;second"/></testcase></testsuite></testsuites>'
    )
    found = importlib.import_module("gpu_tests").outcomes(tmp_path / "tests.xml")
    assert found == {"passed": 1, "failed": {"a::d": "first"}, "skipped": {"a::c": "no GPU"}}
