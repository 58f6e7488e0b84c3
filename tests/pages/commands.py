"""The commands and examples of a page of the manual, as printed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import dsunet.cli
import dsunet_export.cli
import dsunet_runtime.cli
from tests.made_once import made_once

ROOT = Path(__file__).parents[2]
APPS = {
    "dsunet": dsunet.cli.app,
    "dsunet-export": dsunet_export.cli.app,
    "dsunet-run": dsunet_runtime.cli.app,
}
SETS_UP_EVERYTHING = ("make demo", "make test")
"""Run on a clean clone by .ci/run and by hand; here they would run the tests from the tests."""

ON_SEVERAL_PAGES = ("dsunet generate ", "dsunet-export onnx ")
"""Beginnings of commands that several pages have, and that take long."""


def run_page(page: str, folder: Path, factory: pytest.TempPathFactory) -> None:
    """Run every line of the page's `sh` blocks, then its `python` blocks, in a folder."""
    text = (ROOT / page).read_text()
    lines = shell_lines(text)
    assert lines, f"{page} has no commands"
    for line in lines:
        command = shlex.split(line)
        if line.startswith(ON_SEVERAL_PAGES) and not any((folder / w).is_dir() for w in command):
            copy_results(command, folder, factory)
        else:
            _run(command, folder)
    for example in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        _run([sys.executable, "-c", example + "\nassert mask.shape == (512, 512)"], folder)


def shell_lines(text: str) -> list[str]:
    """Commands without their comments; a backslash at the end of a line continues it."""
    blocks = re.findall(r"```sh\n(.*?)```", text.replace("\\\n", " "), flags=re.DOTALL)
    lines = (line.partition("#")[0].strip() for block in blocks for line in block.splitlines())
    return [line for line in lines if line and line not in SETS_UP_EVERYTHING]


def copy_results(command: list[str], folder: Path, factory: pytest.TempPathFactory) -> None:
    """Copy what a command writes into a folder with its input files.

    A command is run once with the same arguments and input files.
    """
    inputs = [path for word in command if (path := folder / word).is_file()]
    contents = [hashlib.sha256(path.read_bytes()).hexdigest() for path in inputs]
    name = hashlib.sha256(repr((command, contents)).encode()).hexdigest()

    def make(results: Path) -> None:
        copies = [Path(shutil.copy(path, results)) for path in inputs]
        _run(command, results)
        for copy in copies:
            copy.unlink()

    shutil.copytree(made_once(factory, name, make), folder, dirs_exist_ok=True)


def invoke(program: str, arguments: list[str], folder: Path) -> Result:
    """Run a command of this project in this process, in a folder."""
    with contextlib.chdir(folder):
        return CliRunner().invoke(APPS[program], arguments)


def _run(command: list[str], folder: Path) -> None:
    """Run a command in a folder: this project's in this process, which spares their imports."""
    if command[0] in APPS:
        invoked = invoke(command[0], command[1:], folder)
        assert invoked.exit_code == 0, f"{shlex.join(command)}\n{invoked.output}"
        return
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert result.returncode == 0, f"{shlex.join(command)}\n{result.stderr}"
