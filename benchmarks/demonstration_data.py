"""Copy the photographs that the demonstration checkpoint is trained and evaluated on.

    python benchmarks/demonstration_data.py PACKAGES -o DATA

PACKAGES is a folder with a subfolder per Debian package, into which `dpkg-deb -x` has extracted it;
docs/DEMONSTRATION.md lists the commands.  demonstration_sources.json lists the files: no cut-out
and no background is in both parts.  Writes DATA/{train,held-out}/{foregrounds,backgrounds}.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from PIL import Image

SOURCES = Path(__file__).with_name("demonstration_sources.json")
MAX_SIDE = 1600
ZENITH, HORIZON = (86, 130, 190), (205, 220, 232)
"""Colours of the sky behind landscapes that have none: Stellarium's."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("packages", type=Path, help="Folder with the extracted packages.")
    parser.add_argument("-o", "--output", type=Path, required=True, help="Folder to write.")
    arguments = parser.parse_args()
    sources: dict[str, dict[str, list[str]]] = json.loads(SOURCES.read_text())
    files = [file for part in sources.values() for files in part.values() for file in files]
    absent = [file for file in files if not (arguments.packages / file).is_file()]
    if absent:
        packages = ", ".join(sorted({file.split("/")[0] for file in absent}))
        sys.exit(f"{len(absent)} of {len(files)} files are absent: extract {packages}")
    for part, kinds in sources.items():
        for kind, names in kinds.items():
            folder = arguments.output / part / kind
            folder.mkdir(parents=True, exist_ok=True)
            for name in names:
                copy(arguments.packages / name, folder / flat(name), kind)
            print(f"{folder}: {len(names)} files")


def flat(name: str) -> str:
    """A file name from a path in a package, without what all paths have in common."""
    skipped = ("usr", "share", "contents", "images")
    return "_".join(part for part in Path(name).parts[1:] if part not in skipped)


def copy(source: Path, target: Path, kind: str) -> None:
    if kind == "foregrounds":
        shutil.copyfile(source, target)
        return
    with Image.open(source) as opened:
        image = opened.convert("RGBA")
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    if image.getextrema()[3][0] < 255:
        image = Image.alpha_composite(sky(image.size), image)
    image.convert("RGB").save(target.with_suffix(".jpg"), quality=95)


def sky(size: tuple[int, int]) -> Image.Image:
    """A gradient from the zenith to the horizon, which is in the middle."""
    ramp = Image.linear_gradient("L").resize((size[0], -(-size[1] // 2)))
    mask = Image.new("L", size, 255)
    mask.paste(ramp)
    return Image.composite(Image.new("RGBA", size, HORIZON), Image.new("RGBA", size, ZENITH), mask)


if __name__ == "__main__":
    main()
