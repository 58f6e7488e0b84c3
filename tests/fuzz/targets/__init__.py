"""The fuzzer's targets by name; each is built on demand.

artifacts      readers of ONNX files and engines
checkpoints    readers of checkpoints and encoders
command_lines  the commands of all three programs
images         readers of images and masks
lists          the reader of `--keep-fp32 @FILE`
training       readers of a run's files
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fuzz.harness import Attack
from tests.fuzz.targets import artifacts, checkpoints, command_lines, images, lists, training


@dataclass(frozen=True, slots=True)
class Entry:
    """A target, and its percentage of the cases."""

    build: Callable[[Path, pytest.MonkeyPatch], Attack]
    """Builds the target in a working folder; the patch undoes changes to modules."""
    percent: int


TARGETS = {
    "manifest": Entry(artifacts.manifest, 17),
    "artifact": Entry(artifacts.artifact, 10),
    "engine": Entry(artifacts.engine, 12),
    "image": Entry(images.image, 12),
    "mask": Entry(images.mask, 9),
    "weights": Entry(checkpoints.weights, 9),
    "checkpoint": Entry(checkpoints.checkpoint, 1),
    "encoders": Entry(checkpoints.encoders, 1),
    "features": Entry(training.features, 10),
    "state": Entry(training.state, 6),
    "configuration": Entry(training.configuration, 8),
    "patterns": Entry(lists.patterns, 3),
    "commands": Entry(command_lines.commands, 2),
}


def parts(names: Sequence[str] | None, cases: int) -> dict[str, int]:
    """Divide a number of cases among the named targets; None stands for all."""
    chosen = {name: TARGETS[name].percent for name in names or TARGETS}
    return {name: round(cases * part / sum(chosen.values())) for name, part in chosen.items()}
