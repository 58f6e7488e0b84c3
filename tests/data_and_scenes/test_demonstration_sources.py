"""The photographs of the demonstration: listed by file, held out by source."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dsunet.scenes import find_sources
from tests.data_and_scenes.sources import write_background, write_cutout

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SOURCES: dict[str, dict[str, list[str]]] = json.loads(
    (BENCHMARKS / "demonstration_sources.json").read_text()
)


def copy(packages: Path, output: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, BENCHMARKS / "demonstration_data.py", packages, "-o", output],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["foregrounds", "backgrounds"])
def test_no_source_is_in_both_parts(kind: str) -> None:
    train, held_out = (SOURCES[part][kind] for part in ("train", "held-out"))
    assert len({*train}) == len(train) > 100
    assert len({*held_out}) == len(held_out) > 20
    assert not {*train} & {*held_out}


def test_views_of_one_thing_are_in_one_part() -> None:
    """Mirror images, and panoramas of one place."""
    for kind in ("foregrounds", "backgrounds"):
        groups = [{_thing(name) for name in SOURCES[part][kind]} for part in ("train", "held-out")]
        assert not groups[0] & groups[1]


def _thing(name: str) -> str:
    """The path without a number or `_mirror` at its end; the folder, for a landscape."""
    path = Path(name)
    if "landscapes" in path.parts:
        return path.parent.name
    if path.stem.startswith(("5120", "3840", "2560")):  # a resolution, of a wallpaper's folder
        return path.parents[2].name
    if path.parent.name == "flowers":  # flower1 to flower10 are of ten species
        return name
    return str(path.parent / path.stem.removesuffix("_mirror").rstrip("0123456789-"))


def test_copied_sources_are_usable(tmp_path: Path) -> None:
    """Preparation of stand-in images: cut-outs unchanged, backgrounds reduced and opaque."""
    for kinds in SOURCES.values():
        for name in kinds["foregrounds"]:
            write_cutout(tmp_path / "packages" / name, side=16)
        for number, name in enumerate(kinds["backgrounds"]):
            path = tmp_path / "packages" / name
            if number % 2:
                write_background(path.with_suffix(".png"), (90, 120, 60)).rename(path)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                image = Image.new("RGBA", (2000, 500), (50, 90, 40, 255))
                image.paste((0, 0, 0, 0), (0, 0, 2000, 250))
                image.save(path, "PNG")
    done = copy(tmp_path / "packages", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    for part, kinds in SOURCES.items():
        sources = find_sources(*(tmp_path / "out" / part / kind for kind in kinds))
        assert len(sources.foregrounds) == len(kinds["foregrounds"])
        assert len(sources.backgrounds) == len(kinds["backgrounds"])
    for path in sources.backgrounds:
        image = Image.open(path)
        assert max(image.size) <= 1600
        if image.width == 1600:  # a landscape: its sky is lighter below
            rows = np.asarray(image.convert("L"))[:, 800]
            assert rows[10] < rows[190]


def test_missing_packages_are_named(tmp_path: Path) -> None:
    done = copy(tmp_path, tmp_path / "out")
    assert done.returncode == 1
    assert "files are absent: extract gnome-backgrounds, lomiri" in done.stderr
    assert not (tmp_path / "out").exists()
