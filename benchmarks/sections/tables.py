"""Formatting of results as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from common import ratio

Document = dict[str, Any]
"""A result file."""


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a Markdown table; the first column is text, the others are numbers."""
    lines = [headings, ["---"] + ["---:"] * (len(headings) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def circumstances(document: Document) -> str:
    """Format machine, date, commit and versions for the line below a table."""
    machine = [document["processor"], f"{document['cores']} cores"]
    if document.get("gpu"):
        machine += [document["gpu"], f"driver {document['driver']}"]
    versions = {"Python": document["python"], **document["versions"]}
    installed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"<sub>{', '.join(machine)}, {document['date'][:10]}, commit {document['commit']}, "
        f"load average {document['load_after'][0]:.1f} at the end; {installed}</sub>"
    )


def duration(seconds: float) -> str:
    """Format a duration in seconds or milliseconds, with three digits."""
    return f"{digits(seconds)} s" if seconds >= 1 else f"{digits(1000 * seconds)} ms"


def timing(figures: Document) -> str:
    """Format the median and the range of a `summary`."""
    median, low, high = (duration(figures[f"{name}_s"]) for name in ("median", "min", "max"))
    if low.split()[1] == high.split()[1]:
        low = low.split()[0]
    return f"{median} ({low} to {high})"


def over(new: Document, old: Document) -> str:
    """Format the ratio of two `summary` results that were measured interleaved."""
    return relative(ratio(new["all_s"], old["all_s"]))


def relative(found: Document) -> str:
    """Format a `ratio` with its range."""
    return f"**{found['median']:.2f}** ({found['min']:.2f} to {found['max']:.2f})"


def digits(value: float) -> str:
    """Format with three significant digits, or with all integer digits."""
    places = next((n for n, least in enumerate((100, 10, 1)) if abs(value) >= least), 3)
    return f"{value:,.{places}f}"
