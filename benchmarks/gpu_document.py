"""Combine a results folder of `gpu_session.sh` into one JSON document.

It contains steps with seconds and exit codes, what was skipped and why, and all results.  It is
written to session.json in the folder, and printed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

TAIL = 20
"""Number of log lines that are kept for a failed step."""
TIMED_OUT = (124, 137)
"""Exit codes of `timeout`."""
DOCUMENT = "session.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="Results folder of `gpu_session.sh`.")
    folder = parser.parse_args().folder
    document = json.dumps(make_document(folder))
    (folder / DOCUMENT).write_text(document + "\n")
    print(document)


def make_document(folder: Path) -> dict[str, Any]:
    """Read the files of a session."""
    files = [file for file in sorted(folder.glob("*.json")) if file.name != DOCUMENT]
    results = {file.stem: json.loads(file.read_text()) for file in files}
    steps = sorted((step_of(file) for file in folder.glob("*.step")), key=lambda one: one["step"])
    left_out = {
        name: missing for name, result in results.items() if (missing := result.get("left_out"))
    }
    return {
        "seconds": sum(one["seconds"] for one in steps),
        "steps": steps,
        "left_out": left_out,
        "results": results,
    }


def step_of(file: Path) -> dict[str, Any]:
    """Read a step from NAME.step, with the end of NAME.log if it failed."""
    number, code, seconds, limit = map(int, file.read_text().split())
    log = file.with_suffix(".log").read_text(errors="replace").splitlines()
    return {
        "step": number,
        "name": file.stem,
        "exit_code": code,
        "seconds": seconds,
        "limit": limit,
        "timed_out": code in TIMED_OUT,
        "last_lines": [line[:2000] for line in log[-TAIL:]] if code else [],
    }


if __name__ == "__main__":
    main()
