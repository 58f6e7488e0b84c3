"""The value [NAME=]DIR of an option for a dataset."""

from __future__ import annotations

from pathlib import Path

import typer


def named_folder(option: str, text: str) -> tuple[str, Path]:
    """Return the name and the folder of a value; the default name is that of the folder."""
    name, equals, folder = text.partition("=")
    if not equals:
        name, folder = Path(text).resolve().name, text
    if not (name and folder):
        raise typer.BadParameter(f"{option} {text}: give NAME=DIR or DIR")
    return name, Path(folder)
