"""MkDocs hook that adds the page commands.md: the `--help` of every command."""

from __future__ import annotations

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.testing import CliRunner

import dsunet.cli
import dsunet_export.cli
import dsunet_runtime.cli

PROGRAMS = {
    "dsunet": dsunet.cli.app,
    "dsunet-export": dsunet_export.cli.app,
    "dsunet-run": dsunet_runtime.cli.app,
}
COMMANDS = [
    (program, command.name or command.callback.__name__)  # type: ignore[union-attr]
    for program, app in PROGRAMS.items()
    for command in app.registered_commands
]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add commands.md, which is generated and not stored in docs/."""
    files.append(File.generated(config, "commands.md", content=make_page()))
    return files


def make_page() -> str:
    """Return the page as Markdown, with a section for each program and each of its commands."""
    blocks = ["# Commands", "The `--help` of every command, for search and for links."]
    for program in PROGRAMS:
        blocks += [f"## {program}", _help(program)]
        for owner, command in COMMANDS:
            if owner == program:
                blocks += [f"### {program} {command}", _help(program, command)]
    return "\n\n".join(blocks) + "\n"


def _help(program: str, *command: str) -> str:
    runner = CliRunner(env={"COLUMNS": "100"})
    result = runner.invoke(PROGRAMS[program], [*command, "--help"], prog_name=program)
    return f"```text\n{result.stdout.strip()}\n```"
