"""Options that are validated while the command line is parsed: numbers and output paths.

Invalid values are wrong usage: one line on stderr and exit code 2, before any work.
"""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from dsunet_runtime.message_text import printable, quote, reason

OUTPUT = "Output"
"""Panel of the options for results, in all three programs."""
MAX_BATCH = 4096
"""Maximum batch of a training step."""
MAX_SEED = 2**32 - 1
"""The largest seed that all random number generators in use accept."""
MAX_COUNT = 1_000_000
"""Maximum number of images, calls and epochs."""
MAX_WORKERS = 1024
"""Maximum number of worker processes and of GPUs."""
_LONGEST_NUMBER = 40
# fmt: off
FILE_SUFFIXES = frozenset({
    ".avi", ".avif", ".bmp", ".csv", ".engine", ".gif", ".html", ".jpeg", ".jpg", ".json", ".m4v",
    ".mkv", ".mov", ".mp4", ".npy", ".npz", ".onnx", ".pdf", ".plan", ".png", ".pt", ".pth",
    ".safetensors", ".svg", ".tif", ".tiff", ".txt", ".webm", ".webp", ".zip",
})
# fmt: on
"""Suffixes that mark a path as a file, not a new folder."""


@dataclass(frozen=True, slots=True)
class OptionalValue:
    """The value of an option that may be left out."""

    missing: str
    """The value where there is none."""
    takes: Callable[[str], bool]
    """Whether an argument after the option is meant as its value, even if it is not valid.

    Any other one is an argument of the command.
    """


OPTIONAL_VALUES: dict[str, OptionalValue] = {}
"""Options whose value may be left out, by name.  `command.make_app` inserts missing values."""


def with_optional_value(
    name: str, *, missing: str, takes: Callable[[str], bool], **settings: Any
) -> Any:
    """Create an option whose value may be left out; see `OptionalValue`."""
    OPTIONAL_VALUES[name] = OptionalValue(missing, takes)
    return typer.Option(name, **settings)


def integer(*names: str, low: int, high: int, **settings: Any) -> Any:
    """Create an option for an integer from `low` to `high`, which are appended to its help."""

    def parse(text: str | int) -> int:
        try:
            # Converting thousands of digits is slow, and Python has another message for them.
            value = int(text) if len(str(text)) <= _LONGEST_NUMBER else None
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            raise typer.BadParameter(f"{quote(text)} is not an integer from {low} to {high}")
        return value

    return _number(*names, parse=parse, limits=f"{low} to {high}", **settings)


def number(*names: str, low: float, high: float, exclusive: bool = False, **settings: Any) -> Any:
    """Create an option for a number from `low` to `high`, which are appended to its help.

    With `exclusive`, `low` itself is not allowed.
    """
    limits = f"{low:.15g} to {high:.15g}"
    if exclusive:
        limits = f"above {low:.15g}, at most {high:.15g}"

    def parse(text: str | float) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high or (exclusive and value == low):  # NaN is out of range
            raise typer.BadParameter(
                f"{quote(text)} is not a number {'' if exclusive else 'from '}{limits}"
            )
        return value

    return _number(*names, parse=parse, limits=limits, **settings)


def output_folder(description: str) -> Any:
    """Create the option `-o` for a folder of results."""
    return typer.Option(
        "-o",
        "--output",
        metavar="DIR",
        callback=folder_to_write,
        help=description,
        rich_help_panel=OUTPUT,
    )


def output_file(description: str) -> Any:
    """Create the option `-o` for a file."""
    return typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        parser=file_to_write,
        help=description,
        rich_help_panel=OUTPUT,
    )


def output_path(path: Path | None) -> Path | None:
    """Typer callback for an output file or folder, which need not exist, nor its parents."""
    if path is None:
        return None
    if path.name == "-":
        raise typer.BadParameter("results go to files, not to standard output: name a file")
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        _check_parents(path)
    except OSError as error:  # a name too long, links in a loop, a file among the parents
        raise typer.BadParameter(f"{printable(path)} cannot be written: {reason(error)}") from error
    else:
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise typer.BadParameter(
                f"{printable(path)} is a pipe or a device: name a file or folder"
            )
    return path


def folder_to_write(path: Path | None) -> Path | None:
    """Typer callback for an output folder."""
    output_path(path)
    if path is not None and path.suffix.lower() in FILE_SUFFIXES and not path.is_dir():
        raise typer.BadParameter(
            f"{printable(path)} names a file, and several are written: name a folder"
        )
    return path


def file_to_write(text: str | Path) -> Path:
    """Typer parser for an output file.  It gets text, because a `Path` loses a slash at the end."""
    path = Path(text)
    output_path(path)
    if path.is_dir() or names_folder(text):
        raise typer.BadParameter(f"{printable(text)} is a folder: name a file in it")
    return path


def text_to_write(text: str | Path) -> Path:
    """Typer parser for an output text file: any suffix except those of other kinds of files."""
    path = file_to_write(text)
    if path.suffix.lower() in FILE_SUFFIXES - {".txt"}:
        raise typer.BadParameter(
            f"{printable(path)} names another kind of file ({path.suffix}): choose another name"
        )
    return path


def names_folder(text: str | Path) -> bool:
    """Whether a path, as typed, can only be a folder, such as `out/` and `out/.`."""
    return re.split(r"[/\\]" if os.sep == "\\" else "/", str(text))[-1] in ("", ".", "..")


@contextmanager
def as_wrong_usage(*faults: type[Exception]) -> Iterator[None]:
    """Convert exceptions caused by command-line values to wrong usage."""
    try:
        yield
    except faults as fault:
        raise typer.BadParameter(str(fault)) from fault


def _check_parents(path: Path) -> None:
    """Reject a path below a folder without write permission."""
    nearest = next((parent for parent in path.absolute().parents if parent.exists()), Path())
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise typer.BadParameter(f"{printable(path)} cannot be written: no permission in {nearest}")


def _number(*names: str, parse: Callable[[Any], float], limits: str, **settings: Any) -> Any:
    """Create an option.  Typer's own limits have incomplete messages that depend on its version."""
    text, default, of_default = settings["help"].partition("  [default")
    settings["help"] = f"{text}  [{limits}]{default}{of_default}"
    return typer.Option(*names, parser=parse, **{"metavar": "N", **settings})
