"""`make lowest` tries what pyproject.toml declares: each lower bound, and no other version."""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
NOT_TRIED = {
    *("onnxruntime-gpu", "onnxruntime-ep-nv-tensorrt-rtx", "tensorrt", "pycuda"),
    *("mkdocs-material", "mkdocstrings-python", "clang-format", "clang-tidy"),
}
"""Which cannot be installed here, or not beside the others, or only draw the manual or lint."""
UNDECLARED = {"pyarrow"}
"""Needed by declared packages; pip would choose versions too new for the others."""


def declared() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = itertools.chain(project["dependencies"], *project["optional-dependencies"].values())
    return [one for one in map(Requirement, lines) if one.name != "dsunet"]


def tried() -> dict[NormalizedName, Version]:
    lines = (ROOT / "constraints-lowest.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def test_every_lower_bound_is_tried() -> None:
    bounds = {}
    for requirement in declared():
        (bound,) = requirement.specifier
        assert bound.operator == ">=", f"{requirement} has no lower bound"
        bounds[canonicalize_name(requirement.name)] = Version(bound.version)
    versions = {name: version for name, version in tried().items() if name not in UNDECLARED}
    assert versions.keys() == bounds.keys() - NOT_TRIED
    for name, version in versions.items():
        # A bound of two numbers stands for the first release that begins with them.
        assert version >= bounds[name], name
        assert version.release[: len(bounds[name].release)] == bounds[name].release, name


def test_they_are_older_than_what_the_tests_run_with() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    newest = dict(re.split("==", line) for line in lines if not line.startswith("#"))
    current = {canonicalize_name(name): Version(version) for name, version in newest.items()}
    assert all(version <= current[name] for name, version in tried().items())
