"""docs/cpp.md matches the sources."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/cpp.md").read_text()
SOURCES = ROOT / "runtime/cpp"


def test_every_example_is_in_the_manual() -> None:
    for path in (SOURCES / "examples").iterdir():
        if path.suffix in (".c", ".cpp") or path.is_dir():
            assert path.name in PAGE, path


def test_every_option_of_cmake_is_in_the_manual() -> None:
    lists = (SOURCES / "CMakeLists.txt").read_text()
    defined = set(
        re.findall(r"^(?:option|set)\((DSUNET_\w+) .*(?:ON|OFF|TOP_LEVEL}|CACHE)", lists, re.M)
    )
    assert {"DSUNET_EXAMPLES", "DSUNET_SANITIZE"} <= defined
    assert (
        set(re.findall(r"`(DSUNET_\w+)`", PAGE.split("\n| option |")[1].split("\n\n")[0]))
        == defined
    )


def test_coefficients_of_nv12() -> None:
    header = (SOURCES / "core/images/pixels.hpp").read_text()
    source = dict(re.findall(r"(DSUNET_BT\w+):?\n +return \{(.+)\};", header))
    table = dict(re.findall(r"^\| `(DSUNET_BT\w+)` \| (.+) \|$", PAGE, re.M))
    assert {name: row.split(" | ") for name, row in table.items()} == {
        name: row.split(", ") for name, row in source.items()
    }
    assert len(table) == 4


def test_variables_of_the_environment() -> None:
    code = "".join(path.read_text() for path in (SOURCES / "backends").rglob("*.cpp"))
    for name in set(re.findall(r'"(DSUNET_\w+_LIBRARY)"', code)):
        header = (SOURCES / "include/dsunet/runtime.h").read_text()
        assert name in PAGE or name in header
