"""A machine that only runs artifacts: the base and `cpu` extras in an environment of their own."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMPORT_LIMIT = 0.3
"""Seconds, of the best of five imports: the promise is about the package, not a busy machine."""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin/python"
    install = [python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt"]
    result = subprocess.run([*install, f"{ROOT}[cpu]"], capture_output=True, text=True)
    if "No matching distribution" in result.stderr or "Temporary failure" in result.stderr:
        pytest.skip("no package index can be reached, so no clean environment can be made")
    assert result.returncode == 0, result.stderr
    return python


def run(python: Path, code: str) -> str:
    command = [python, "-I", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_holds_nothing_that_it_does_not_need(python: Path) -> None:
    names = ["torch", "torchvision", "timm", "sam2", "onnx", "onnxscript", "scipy"]
    code = f"from importlib.util import find_spec\nprint([n for n in {names} if find_spec(n)])"
    assert run(python, code) == "[]\n"


def test_imports_fast(python: Path) -> None:
    code = (
        "from time import perf_counter as now\nstart = now()\n"
        "import dsunet_runtime\nprint(now() - start)"
    )
    assert min(float(run(python, code)) for _ in range(5)) < IMPORT_LIMIT


def test_prints_a_command_that_installs_more(python: Path) -> None:
    code = "from dsunet_runtime.extras import install_command as command\nprint(command('pycuda'))"
    command = shlex.split(run(python, code))
    assert command == ["pip", "install", f"dsunet[pycuda] @ {ROOT.as_uri()}"]
    subprocess.run([python, "-m", *command, "--dry-run", "--no-deps", "--quiet"], check=True)


def test_runs_an_artifact(python: Path, frames_artifact: Path, tmp_path: Path) -> None:
    program = python.with_name("dsunet-run")
    photograph = ROOT / "assets/astronaut.jpg"
    subprocess.run([program, "predict", frames_artifact, photograph, "-o", tmp_path], check=True)
    assert (tmp_path / "astronaut.png").is_file()


def test_wheel_holds_three_packages(python: Path) -> None:
    code = (
        "from importlib.metadata import files\n"
        "print(sorted({f.parts[0] for f in files('dsunet') if '.dist-info' not in f.parts[0]}))"
    )
    listed = run(python, code)
    for name in ("dsunet", "dsunet_export", "dsunet_runtime"):
        assert f"'{name}'" in listed
    assert "'tests'" not in listed
    assert "'benchmarks'" not in listed
