"""`dsunet-run` in this process, and in one of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner, Result

from dsunet_runtime.cli import app

COMMAND = [sys.executable, "-c", "from dsunet_runtime.cli import app; app()"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def predict(*arguments: object, content: bytes = b"") -> Result:
    """Run `dsunet-run predict`, with `content` on standard input."""
    return CliRunner().invoke(app, ["predict", *map(str, arguments)], input=content)


def fails_with_one_line(*arguments: object, match: str) -> None:
    """In a process of its own: what a user sees."""
    result = subprocess.run(
        [*COMMAND, *(str(argument) for argument in arguments)], capture_output=True, text=True
    )
    assert result.returncode == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("dsunet-run: ")
    assert match in line


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
