"""Help texts of the three programs: short first lines, options in panels, examples at the end."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

PAGE = runpy.run_path(str(Path(__file__).parents[1] / "docs/commands.py"))
PROGRAMS: dict[str, typer.Typer] = PAGE["PROGRAMS"]
COMMANDS: list[tuple[str, str]] = PAGE["COMMANDS"]


def help_of(program: str, *arguments: str) -> str:
    runner = CliRunner()
    return runner.invoke(PROGRAMS[program], [*arguments, "--help"], env={"COLUMNS": "200"}).stdout


@pytest.mark.parametrize("program", PROGRAMS)
def test_first_lines_fit(program: str) -> None:
    lines = help_of(program).partition("Commands:")[2].strip().splitlines()
    summaries = dict(line.split(maxsplit=1) for line in lines)
    assert [*summaries] == [command for one, command in COMMANDS if one == program]
    for summary in summaries.values():
        assert len(summary) <= 60
        assert summary.endswith(".")


def test_commands_of_the_export() -> None:
    found = {command for program, command in COMMANDS if program == "dsunet-export"}
    assert found == {"onnx", "trt", "verify", "inspect", "tune", "triton", "deepstream", "doctor"}


@pytest.mark.parametrize(("program", "command"), COMMANDS)
def test_examples_stand_at_the_end(program: str, command: str) -> None:
    examples = help_of(program, command).partition("Examples:")[2].strip().splitlines()
    assert examples
    for example in examples:
        assert re.match(rf" *{program} {command}\b", example)


@pytest.mark.parametrize(
    ("program", "command"),
    [
        *(
            ("dsunet", name)
            for name in ("train", "distill", "evaluate", "ablate", "explain", "generate")
        ),
        *(("dsunet-export", name) for name in ("onnx", "trt", "verify", "triton", "deepstream")),
        *(("dsunet-run", name) for name in ("predict", "bench")),
    ],
)
def test_options_are_in_panels(program: str, command: str) -> None:
    """Only `--help` is outside of them."""
    (options,) = re.findall(r"^Options:\n((?:  .*\n)+)", help_of(program, command), re.MULTILINE)
    (line,) = options.splitlines()
    assert "--help " in line


@pytest.mark.parametrize(("program", "command"), COMMANDS)
def test_exit_codes(program: str, command: str) -> None:
    found = re.findall(r"^ *Exit codes: 0 .*130 interrupted\.$", help_of(program, command), re.M)
    assert len(found) == 1


@pytest.mark.parametrize(("program", "command"), COMMANDS)
def test_no_types_of_python(program: str, command: str) -> None:
    assert not re.search(r"<(path|str|list)\b|\{|e\+\d", help_of(program, command))


def test_limits_stand_before_the_default() -> None:
    text = " ".join(help_of("dsunet", "train").split())
    assert "Initial learning rate. [above 0, at most 1000] [default: 0.001]" in text
    assert "are clipped. [above 0, at most 1000000000] [default: no clipping]" in text
    assert "of linear learning-rate warm-up. [0 to 1000000] [default: 0]" in text


def test_the_manual_has_all_help_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    page = PAGE["make_page"]()
    headings = re.findall(r"^### (.*)\n\n```text\nUsage: (.*?) \[OPTIONS\]", page, re.MULTILINE)
    assert headings == [(" ".join(command), " ".join(command)) for command in COMMANDS]
    assert page.count("```text\nUsage: ") == len(PROGRAMS) + len(COMMANDS)
    monkeypatch.setenv("COLUMNS", "200")
    assert PAGE["make_page"]() == page
