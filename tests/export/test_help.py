"""Help texts: short first lines, and examples at the end."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from dsunet_export.cli import app

COMMANDS = ("onnx", "trt", "verify", "inspect", "doctor")


def help_of(*arguments: str) -> str:
    return CliRunner().invoke(app, [*arguments, "--help"], env={"COLUMNS": "200"}).stdout


def test_first_lines_fit() -> None:
    lines = help_of().partition("Commands:")[2].strip().splitlines()
    summaries = dict(line.split(maxsplit=1) for line in lines)
    assert set(summaries) == set(COMMANDS)
    for summary in summaries.values():
        assert len(summary) <= 60
        assert summary.endswith(".")


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_stand_at_the_end(command: str) -> None:
    examples = help_of(command).partition("Examples:")[2].strip().splitlines()
    assert examples
    for example in examples:
        assert re.match(rf" *dsunet-export {command}\b", example)
