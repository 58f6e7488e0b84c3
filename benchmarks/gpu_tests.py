"""Run the tests that need a GPU, and record the result of each: passed, failed or skipped, and why.

The exit code is pytest's.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from common import make_parser, write

PATHS = ["tests/model", "tests/runtime", "tests/export"]
"""Folders of the tests with the marker `gpu`."""


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument(
        "paths", nargs="*", default=PATHS, help="Paths of tests (default: %(default)s)."
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tests.xml"
        command = [sys.executable, "-m", "pytest", "-v", "-m", "gpu", f"--junitxml={file}"]
        command.append("--continue-on-collection-errors")  # a package may be missing
        done = subprocess.run(
            [*command, *arguments.paths], cwd=Path(__file__).parents[1], check=False
        )
        found = outcomes(file) if file.is_file() else {}
    write("gpu_tests", {"exit_code": done.returncode, **found})
    raise SystemExit(done.returncode)


def outcomes(file: Path) -> dict[str, Any]:
    """Read pytest's XML file: counts, and a reason for each test that did not pass."""
    found: dict[str, Any] = {"passed": 0, "failed": {}, "skipped": {}}
    for case in ElementTree.parse(file).getroot().iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        for kind, outcome in (("failure", "failed"), ("error", "failed"), ("skipped", "skipped")):
            reason = case.find(kind)
            if reason is not None:
                found[outcome][name] = (reason.get("message") or "").partition("\n")[0]
                break
        else:
            found["passed"] += 1
    return found


if __name__ == "__main__":
    main()
