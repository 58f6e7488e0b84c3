"""A section of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from sections.tables import Document, circumstances

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


def preset_section(
    results: Results,
    benchmark: str,
    title: str,
    introduction: str,
    blocks_of: Callable[[Document], Iterable[str]],
    *,
    heading_of: Callable[[Document], str] = lambda document: "",
    plot: tuple[str, Callable[[Mapping[str, Document]], str | None]] | None = None,
) -> Section | None:
    """Make a section with a part for each preset; None without results.

    Args:
        results: All result files.
        benchmark: Name of the benchmark: result files are called BENCHMARK_PRESET.
        title: Heading of the section.
        introduction: First block: the script and its conditions.
        blocks_of: Returns the blocks of a result; its circumstances are added.
        heading_of: Returns an addition to the heading of a preset.
        plot: File name, and the function that plots all results, for the end of the section.
    """
    found = of_presets(results, benchmark)
    section = Section(title, [introduction])
    for preset, document in found.items():
        section.blocks += [
            f"### `{preset}`{heading_of(document)}",
            *blocks_of(document),
            circumstances(document),
        ]
    if plot:
        name, draw = plot
        section.show(name, draw(found))
    return section if found else None


def of_presets(results: Results, benchmark: str) -> dict[str, Document]:
    """Return the results of a benchmark by preset, the largest preset first."""
    found = {preset: results.get(f"{benchmark}_{preset}") for preset in _PRESETS}
    return {preset: document for preset, document in found.items() if document is not None}
