"""MkDocs hook that adds the page commands.md: the `--help` of every command."""

from __future__ import annotations

import typer
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


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page, which is in no folder."""
    files.append(File.generated(config, "commands.md", content=make_page()))
    return files


def make_page() -> str:
    """Return the page as Markdown, with a section for each program and each of its commands."""
    blocks = ["# Commands"]
    for program, app in PROGRAMS.items():
        blocks += [f"## {program}", _help(app, program)]
        for command in app.registered_commands:
            name = command.name or command.callback.__name__  # type: ignore[union-attr]
            blocks += [f"### {program} {name}", _help(app, program, name)]
    return "\n\n".join(blocks) + "\n"


def _help(app: typer.Typer, program: str, *command: str) -> str:
    result = CliRunner().invoke(app, [*command, "--help"], prog_name=program)
    return f"```text\n{result.stdout.strip()}\n```"
