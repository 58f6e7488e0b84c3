"""Write benchmarks/README.md and benchmarks/plots/ from benchmarks/results/, and nothing else."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from common import RESULTS
from reporting import SECTIONS

HEADING = """# Measured

Written by `make bench-report` from the files in `results/`, and from nothing else. Times are
medians with their spread from the fastest to the slowest round; what is compared took turns, and a
ratio is the median of the rounds' ratios. What each script does, and under which conditions, its
`--help` says."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent, metavar="DIR")
    output = parser.parse_args().output
    files = make_report(RESULTS)
    plots = output / "plots"
    plots.mkdir(parents=True, exist_ok=True)
    for old in plots.glob("*.svg"):
        old.unlink()
    for name, text in files.items():
        (output / name).write_text(text, encoding="utf-8")


def make_report(folder: Path) -> dict[str, str]:
    """Every file of the report by its path, from the result files in a folder."""
    results = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    found = [section for make in SECTIONS if (section := make(results)) is not None]
    blocks = [HEADING]
    for section in found:
        blocks += [f"## {section.title}", *section.blocks]
    plots = {f"plots/{name}": svg for section in found for name, svg in section.plots.items()}
    return {"README.md": "\n\n".join(blocks) + "\n", **plots}


if __name__ == "__main__":
    main()
