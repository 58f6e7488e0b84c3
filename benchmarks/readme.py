"""Write benchmarks/README.md and benchmarks/plots/ from the files in benchmarks/results/."""

from __future__ import annotations

import json
import re
from pathlib import Path

from common import RESULTS, make_parser
from sections import SECTIONS

HEADING = """# Benchmark results

`make bench-report` generates this page from the files in `results/`. Times are medians over rounds,
with the range from the fastest to the slowest round in parentheses. Variants that are compared were
measured interleaved, and ratios are medians of the ratios of each round. The line below each table
has machine, date, commit and versions. `--help` of each script describes what it measures, and
under which conditions."""


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path(__file__).parent,
        metavar="DIR",
        help="Folder to write to (default: benchmarks/).",
    )
    output = parser.parse_args().output
    files = make_readme(RESULTS)
    plots = output / "plots"
    plots.mkdir(parents=True, exist_ok=True)
    for old in plots.glob("*.svg"):
        old.unlink()
    for name, text in files.items():
        (output / name).write_text(text, encoding="utf-8")


def make_readme(folder: Path) -> dict[str, str]:
    """Return the page and its plots by path, from the result files in a folder."""
    results = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    found = [section for make in SECTIONS if (section := make(results)) is not None]
    blocks = [HEADING, "\n".join(f"- [{one.title}](#{_anchor(one.title)})" for one in found)]
    for section in found:
        blocks += [f"## {section.title}", *section.blocks]
    plots = {f"plots/{name}": svg for section in found for name, svg in section.plots.items()}
    return {"README.md": "\n\n".join(blocks) + "\n", **plots}


def _anchor(title: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


if __name__ == "__main__":
    main()
