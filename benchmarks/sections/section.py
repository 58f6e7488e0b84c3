"""A section of the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sections.tables import Document

_PRESETS = ("large", "base_plus", "small", "tiny", "nano")
Results = Mapping[str, Document]
"""Result files by name."""


@dataclass(slots=True)
class Section:
    """Title, Markdown blocks, and plots by file name."""

    title: str
    blocks: list[str]
    plots: dict[str, str] = field(default_factory=dict)

    def show(self, name: str, svg: str | None) -> None:
        """Add a plot, unless it is None."""
        if svg is not None:
            self.plots[name] = svg
            self.blocks.append(f"![{self.title}](plots/{name})")


def of_presets(results: Results, benchmark: str) -> dict[str, Document]:
    """Return the results of a benchmark by preset, the largest preset first."""
    found = {preset: results.get(f"{benchmark}_{preset}") for preset in _PRESETS}
    return {preset: document for preset, document in found.items() if document is not None}
