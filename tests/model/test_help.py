"""Help texts: short first lines, options in panels, and examples at the end."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from dsunet.cli import app

COMMANDS = [command.name or command.callback.__name__ for command in app.registered_commands]  # type: ignore[union-attr]


def help_of(*arguments: str) -> str:
    return CliRunner().invoke(app, [*arguments, "--help"], env={"COLUMNS": "200"}).stdout


def test_first_lines_fit() -> None:
    lines = help_of().partition("Commands:")[2].strip().splitlines()
    summaries = dict(line.split(maxsplit=1) for line in lines)
    assert [*summaries] == COMMANDS
    for summary in summaries.values():
        assert len(summary) <= 60
        assert summary.endswith(".")


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_stand_at_the_end(command: str) -> None:
    examples = help_of(command).partition("Examples:")[2].strip().splitlines()
    assert examples
    for example in examples:
        assert re.match(rf" *dsunet {command}\b", example)


@pytest.mark.parametrize("command", ["train", "evaluate", "ablate", "explain", "generate"])
def test_options_are_in_panels(command: str) -> None:
    """Only `--help` is outside of them."""
    (options,) = re.findall(r"^Options:\n((?:  .*\n)+)", help_of(command), re.MULTILINE)
    (line,) = options.splitlines()
    assert "--help " in line
