"""The result of a point, stored in a file until its inputs change."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsunet_export.operating_points.points import Point
from dsunet_runtime.files import make_folder, open_regular, write_whole
from dsunet_runtime.json_text import MAX_BYTES, JsonError, parse_object
from dsunet_runtime.plain_values import FieldError, decode, encode

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Scores on one dataset."""

    s_measure: float
    mae: float
    each: tuple[float, ...]
    """S-measure of each image, in the order of the dataset."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Time for one image, and its ratio to that of the reference, measured interleaved."""

    seconds: float
    """Median."""
    ratio: float
    """Median over the rounds; below 1 is faster than the reference."""
    lowest: float
    highest: float
    within_noise: bool
    """Whether a sign test over the rounds finds no difference."""


@dataclass(frozen=True, slots=True)
class PointResult:
    """Accuracy, time and size of a point."""

    point: Point
    macs: int
    """Multiply-adds for one image, after the rewrites."""
    size: int
    """Bytes of the artifact and of its weights file."""
    accuracy: dict[str, Accuracy]
    """By the name of the dataset."""
    timing: Timing


class ResultFiles:
    """Files of results, one for each point, named by a hash of the inputs of the result."""

    def __init__(self, folder: Path, inputs: dict[str, Any]) -> None:
        """Store results in a folder, which is created with the first.

        `inputs` are those of all points, as plain values.
        """
        self._folder = folder
        self._inputs = {"format_version": FORMAT_VERSION, **inputs}

    def path(self, point: Point) -> Path:
        """Return the path of the file of a point."""
        content = json.dumps({**self._inputs, "point": encode(point)}, sort_keys=True)
        return self._folder / f"{hashlib.sha256(content.encode()).hexdigest()}.json"

    def read(self, point: Point) -> PointResult | None:
        """Read a result; None if there is no complete one."""
        try:
            with open_regular(self.path(point)) as file:
                document = parse_object(file.read(MAX_BYTES + 1))
            found = decode(PointResult, document, exact=True)
        except (OSError, JsonError, FieldError):
            return None
        return found if found.point == point else None

    def write(self, result: PointResult) -> None:
        """Store a result.  Raises OutputError if it cannot be written."""
        make_folder(self._folder)
        text = json.dumps(encode(result), indent=2) + "\n"
        write_whole(self.path(result.point), lambda file: file.write(text.encode()))
