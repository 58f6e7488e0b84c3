"""The commands and examples of a page of the manual, as printed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SETS_UP_EVERYTHING = ("make demo", "make test")
"""Run on a clean clone by .ci/run and by hand; here they would run the tests from the tests."""


def run_page(page: str, folder: Path) -> None:
    """Run every line of the page's `sh` blocks, then its `python` blocks, in a folder."""
    text = (ROOT / page).read_text()
    lines = shell_lines(text)
    assert lines, f"{page} has no commands"
    for line in lines:
        _run(shlex.split(line), folder)
    for example in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        _run([sys.executable, "-c", example + "\nassert mask.shape == (512, 512)"], folder)


def shell_lines(text: str) -> list[str]:
    """Commands without their comments."""
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    lines = (line.partition("#")[0].strip() for block in blocks for line in block.splitlines())
    return [line for line in lines if line and line not in SETS_UP_EVERYTHING]


def _run(command: list[str], folder: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert result.returncode == 0, f"{shlex.join(command)}\n{result.stderr}"
